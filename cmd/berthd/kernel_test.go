package main

import (
	"fmt"
	"os"
	"sync"
	"testing"

	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/netops"
)

func TestMain(m *testing.M) {
	if err := sandbox.Enter(); err != nil {
		fmt.Println("skipped:", err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// For the race detector. It is here and not in netops, whose tests import more of the netlink library than berthd links:
// what that initialises by itself would hide what berthd has to.
func TestTheKernelsFirstCallersDoNotRace(t *testing.T) {
	k, err := netops.Open()
	if err != nil {
		t.Fatal(err)
	}
	defer k.Close()
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			if !k.HasPort("lo") {
				t.Error("there is no loopback")
			}
		})
	}
	callers.Wait()
}
