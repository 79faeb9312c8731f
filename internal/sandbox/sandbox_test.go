package sandbox

import (
	"fmt"
	"net"
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	if err := Enter(); err != nil {
		fmt.Println("skipped:", err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func TestASandboxSeesOnlyItself(t *testing.T) {
	links, err := net.Interfaces()
	if err != nil || len(links) != 1 || links[0].Flags&net.FlagUp == 0 {
		t.Errorf("links %v, error %v: want a loopback that is up, alone", links, err)
	}
	if os.Getpid() != 1 {
		t.Errorf("process id %d: want 1", os.Getpid())
	}
}

func TestANamespaceIsAnotherAndGoesAgain(t *testing.T) {
	path := "/run/netns/a"
	if err := Namespace(path); err != nil {
		t.Fatal(err)
	}
	var within, here string
	err := Within(path, func() (err error) { within, err = os.Readlink("/proc/thread-self/ns/net"); return err })
	if err != nil {
		t.Fatal(err)
	}
	if here, _ = os.Readlink("/proc/thread-self/ns/net"); here == within || within == "" {
		t.Errorf("inside %q, here %q: want two namespaces", within, here)
	}
	for range 2 {
		if err := Remove(path); err != nil {
			t.Fatal(err)
		}
	}
}
