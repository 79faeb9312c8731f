package agent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
)

// churn adds and deletes containers in the IPAM role, which costs the kernel nothing, by some callers at once. Each has an
// ID of its own, and one of some apps.
func (r *rig) churn(from, to int) {
	r.t.Helper()
	var next atomic.Int64
	next.Store(int64(from))
	var group errgroup.Group
	for range 8 {
		group.Go(func() error {
			for i := next.Add(1) - 1; i < int64(to); i = next.Add(1) - 1 {
				c := wire.Container{
					Network: "net", ID: fmt.Sprint("churn-", i), Interface: "eth0", Role: wire.IPAM, Pool: "wide",
					Namespace: "ns", App: fmt.Sprint("app-", i%50),
				}
				for _, operation := range []string{wire.Insert, wire.Delete} {
					q := &wire.Request{Operation: operation, Verb: operation, Started: int64(clock.Boottime()), Containers: []wire.Container{c}}
					response, err := wire.Call(context.Background(), r.agent.socket.Path, 0, q, nil)
					if err == nil && response.Error != nil {
						err = response.Error
					}
					if err != nil {
						return fmt.Errorf("%s of container %d: %w", operation, i, err)
					}
				}
			}
			return nil
		})
	}
	check(r.t, group.Wait())
}

// wide gives the rig a pool whose blocks are so large that quarantine holds up no churn.
func (r *rig) wide() {
	r.t.Helper()
	r.change(func(c *config.Config) {
		// Etcd will be away for as long as it takes, and a loaded machine renews late.
		c.Settings.AddressLease, c.Settings.Session = allocator.Duration(time.Hour), allocator.Duration(30*time.Second)
		c.Pools["wide"] = allocator.Pool{Name: "wide", CIDRs: prefixes("10.64.0.0/16"), BlockSize: allocator.BlockSize{V4: 19}}.WithDefaults()
	})
	r.until("the agent fences by the new times", func() bool {
		_, _, err := r.agent.Pool("wide")
		return err == nil && r.agent.Rights.Remaining(allocator.Stateless) > 30*time.Minute
	})
}

// heap is how many bytes are in use after the garbage is gone.
func heap() int64 {
	var s runtime.MemStats
	for range 3 {
		debug.FreeOSMemory()
	}
	runtime.ReadMemStats(&s)
	return int64(s.HeapAlloc)
}

// The containers come and go in a minute as many as in hours: what grows with them would be seen.
func TestWhileEtcdIsAwayNothingGrowsWithTheContainersThatComeAndGo(t *testing.T) {
	const some = 10_000
	r := newRig(t)
	r.wide()
	r.add(wire.Container{Network: "net", ID: "first", Interface: "eth0", Role: wire.IPAM, Pool: "wide"}) // the block is claimed
	r.etcd.Stop()
	defer r.startEtcd()
	r.churn(0, some) // as many as the agent may remember for a while
	before, journal := heap(), r.agent.Journal.Bytes()
	r.churn(some, 3*some)
	after, goroutines := heap(), runtime.NumGoroutine()
	t.Logf("heap %d KB, after %d more ADD and DEL %d KB; journal %d KB and %d KB; %d addresses to publish; %d goroutines",
		before>>10, 2*some, after>>10, journal>>10, r.agent.Journal.Bytes()>>10, r.agent.backlog.Len(), goroutines)
	if grown := after - before; grown > 4<<20 {
		t.Errorf("the heap has grown by %d KB for %d containers that are gone", grown>>10, 2*some)
	}
	if size := r.agent.Journal.Bytes(); size > 16<<20 {
		t.Errorf("the journal has %d KB for one container", size>>10)
	}
	if n := r.agent.backlog.Len(); n > 1<<13 {
		t.Errorf("%d addresses are to be published: the node has %d", n, 1<<13)
	}
}

func TestGoroutinesAndDescriptorsDoNotGrow(t *testing.T) {
	r := newRig(t)
	r.wide()
	var spaces []string
	for range 8 {
		spaces = append(spaces, r.space())
	}
	r.wired(spaces, 0, 16)
	r.churn(0, 100)
	r.empty()
	goroutines, open := runtime.NumGoroutine(), descriptors(t)
	r.churn(100, 10_000)
	r.wired(spaces, 16, 300)
	r.fails(500)
	r.callersGo(500)
	r.empty()
	r.until("there are as many goroutines as before", func() bool { return runtime.NumGoroutine() <= goroutines+5 })
	// The kernel's part keeps up to sixteen sockets for the next caller.
	r.until("there are as many descriptors as before", func() bool { return descriptors(t) <= open+20 })
	t.Logf("goroutines %d, then %d; descriptors %d, then %d", goroutines, runtime.NumGoroutine(), open, descriptors(t))
}

// wired adds and deletes containers in the interface role, a stateful one among ten.
func (r *rig) wired(spaces []string, from, to int) {
	r.t.Helper()
	for i := from; i < to; i++ {
		c := wire.Container{Network: "net", ID: fmt.Sprint("wired-", i), Interface: "eth0", Role: wire.Interface, Netns: spaces[i%len(spaces)],
			Namespace: "ns", App: "web"}
		if i%10 == 0 {
			c.Class, c.Member = string(allocator.Stateful), fmt.Sprint("web-", i%30)
		}
		r.add(c)
		r.del(c)
	}
}

// fails has ADDs fail early, and late: after the address is chosen and the port is made.
func (r *rig) fails(times int) {
	r.t.Helper()
	ns := r.space()
	for i := range times {
		c := wire.Container{Network: "net", ID: fmt.Sprint("fails-", i), Interface: "eth0", Role: wire.Interface, Netns: ns}
		switch i % 3 {
		case 0:
			c.Pool = "none"
		case 1:
			c.Interface = "lo" // it is there already
		case 2:
			c.Uplink, c.Bridge = "eth9", "berth9"
		}
		if _, err := r.ask(wire.Insert, c); err == nil {
			r.t.Fatal("it was done")
		}
	}
}

// callersGo has callers that hang up at some moment of their ADD, and their runtime that deletes after them.
func (r *rig) callersGo(times int) {
	r.t.Helper()
	ns := r.space()
	for i := range times {
		c := wire.Container{Network: "net", ID: fmt.Sprint("goes-", i), Interface: "eth0", Role: wire.Interface, Netns: ns, NetnsFile: 1}
		f, err := os.Open(ns)
		check(r.t, err)
		ctx, cancel := context.WithTimeout(r.t.Context(), time.Duration(i%50)*100*time.Microsecond)
		q := &wire.Request{Operation: wire.Insert, Verb: "ADD", Started: int64(clock.Boottime()), Containers: []wire.Container{c}}
		if _, err := wire.Call(ctx, r.agent.socket.Path, 0, q, []*os.File{f}); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			r.t.Fatal(err)
		}
		cancel()
		f.Close()
		r.del(c)
	}
}

func TestTheSpoolAndTheRunDirectoryKeepNothing(t *testing.T) {
	r := newRig(t)
	r.wide()
	r.churn(0, 200)
	r.empty()
	files, err := filepath.Glob(filepath.Join(filepath.Dir(r.agent.socket.Path), "*", "*"))
	check(t, err)
	if len(files) > 0 {
		t.Errorf("%v are left", files)
	}
}
