package server

import (
	"net"
	"os"
	"path/filepath"
	"testing"
)

func TestTheSocketIsForTheSuperuserAloneAndTakesAFormerOnesPlace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.sock")
	if err := os.WriteFile(path, nil, 0o666); err != nil { // as of an agent that was killed
		t.Fatal(err)
	}
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if info, err := os.Stat(path); err != nil || info.Mode() != os.ModeSocket|0o600 {
		t.Errorf("the file is of mode %v, with error %v", info.Mode(), err)
	}
	caller, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if uid, pid, err := c.Peer(); err != nil || uid != os.Getuid() || pid != os.Getpid() {
		t.Errorf("the caller is user %d, process %d, with error %v", uid, pid, err)
	}
}

func TestAListenerIsInPlaceUntilItsFileIsRemovedOrReplaced(t *testing.T) {
	path := filepath.Join(t.TempDir(), "berth.sock")
	l, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if !l.InPlace() {
		t.Error("it is not in its place")
	}
	next, err := ListenUnix(path)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if l.InPlace() || !next.InPlace() {
		t.Error("another's file is its own, or its own another's")
	}
	if err := os.Remove(path); err != nil || next.InPlace() {
		t.Errorf("it is in a place where nothing is: %v", err)
	}
}
