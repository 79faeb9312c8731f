package netops

import (
	"os"
	"os/exec"
	"testing"
)

func TestARunningContainersNamespaceIsFoundByItsPathOrByAProcessInItAndNoOtherIs(t *testing.T) {
	k, _ := newHost(t)
	s, other := newSpace(t), newSpace(t)
	inode, err := k.NamespaceInode(s.Open())
	must(t, err)
	finds := func(path string) bool {
		f, err := k.FindNamespace(path, inode)
		if err != nil {
			return false
		}
		defer f.Close()
		found, err := k.NamespaceInode(f)
		must(t, err)
		return found == inode
	}
	if !finds(s.Path) {
		t.Error("it is not found at its path")
	}
	if finds(other.Path) || finds("/dev/null") || finds("/run/netns/none") {
		t.Error("it is found where another lies, or nothing, and no process is in it")
	}
	process := exec.Command("sleep", "600")
	s.Do(process.Start)
	t.Cleanup(func() { _ = process.Process.Kill(); _ = process.Wait() })
	if !finds(other.Path) {
		t.Error("it is not found by a process in it")
	}
	if _, err := k.NamespaceInode(open(t, "/proc/self/ns/mnt")); err == nil {
		t.Error("a namespace of another type has a network namespace's identity")
	}
}

func open(t *testing.T, path string) *os.File {
	t.Helper()
	f, err := os.Open(path)
	must(t, err)
	t.Cleanup(func() { f.Close() })
	return f
}
