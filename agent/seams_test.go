package agent

import (
	"errors"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-ipam/berth/agent/server"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/disk"
	"github.com/berth-ipam/berth/internal/random"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/netops"
)

// elsewhere is the machine's disk from a directory of it on.
type elsewhere struct {
	disk.Machine
	root string
}

func (d elsewhere) at(path string) string { return filepath.Join(d.root, path) }

func (d elsewhere) MakeDir(path string, mode fs.FileMode) error {
	return d.Machine.MakeDir(d.at(path), mode)
}
func (d elsewhere) Open(path string) (disk.File, error)   { return d.Machine.Open(d.at(path)) }
func (d elsewhere) Create(path string) (disk.File, error) { return d.Machine.Create(d.at(path)) }
func (d elsewhere) Read(path string) ([]byte, error)      { return d.Machine.Read(d.at(path)) }
func (d elsewhere) List(dir string) ([]string, error)     { return d.Machine.List(d.at(dir)) }
func (d elsewhere) Rename(from, to string) error          { return d.Machine.Rename(d.at(from), d.at(to)) }
func (d elsewhere) Remove(path string) error              { return d.Machine.Remove(d.at(path)) }
func (d elsewhere) Stat(path string) (disk.Info, error)   { return d.Machine.Stat(d.at(path)) }

// An abstract listener has no file: it is found by its name alone (unix(7)).
type abstract struct{ *net.UnixListener }

func listenAbstract(name string) (server.Listener, error) {
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: name, Net: "unix"})
	return abstract{l}, err
}

func (l abstract) InPlace() bool { return true }

func (l abstract) Accept() (server.Conn, error) {
	c, err := l.AcceptUnix()
	if err != nil {
		return nil, err
	}
	return abstractConn{c}, nil
}

type abstractConn struct{ *net.UnixConn }

func (c abstractConn) Peer() (uid, pid int, err error) { return wire.Peer(c.UnixConn) }

// opened is the host's kernel, and counts the ports that join a class.
type opened struct {
	Kernel
	joins *atomic.Int32
}

func (k opened) Join(m netops.Member) error {
	k.joins.Add(1)
	return k.Kernel.Join(m)
}

// TestAnAgentStandsOnWhatItsOptionsGiveIt has an agent serve by a kernel, a disk, a clock, a source of chance and listeners that are
// not the machine's own, or not quite.
func TestAnAgentStandsOnWhatItsOptionsGiveIt(t *testing.T) {
	const year = 365 * 24 * time.Hour
	r := newRig(t)
	r.stop()
	name, run, kept := "n2", filepath.Join(r.dir, "run2"), elsewhere{root: filepath.Join(r.dir, "elsewhere")}
	ahead := clock.Clock{
		Boot: func() time.Duration { return clock.Boottime() + time.Hour },
		Wall: func() time.Time { return clock.Machine().Wall().Add(year) },
	}
	var joins, webs atomic.Int32
	r.socket = "@" + r.dir
	r.options = func(o *Options) {
		o.Name, o.Machine, o.Boot, o.RunDir = name, "", "", run
		o.Clock, o.Random, o.Disk = ahead, random.Seeded(7), kept
		o.Kernel = func() (Kernel, error) { k, err := openKernel(); return opened{k, &joins}, err }
		o.ListenSocket = func(string) (server.Listener, error) { return listenAbstract(r.socket) }
		o.ListenWeb = func(network, address string) (net.Listener, error) { webs.Add(1); return net.Listen(network, address) }
	}
	began := ahead.Wall().Truncate(time.Second)
	r.start()
	c := r.stateless("a", "web")
	addr := r.add(c)
	r.until("it is assigned", func() bool { return r.assigned(addr) != nil })
	given := func(what string, at time.Time) {
		if at.Before(began) || at.After(ahead.Wall()) {
			t.Errorf("%s is of %s: want the time of day that was given, from %s on", what, at, began)
		}
	}
	e := r.agent.Journal.Get(attachmentOf(c))
	given("the attachment", e.Since)
	given("its assignment in etcd", r.assigned(addr).Since)
	record, err := r.peer.Sessions.Node(t.Context(), name)
	check(t, err)
	given("the node's key", record.Started)
	r.agent.Findings.Set("a-kind", "a-subject", "it is wrong", "repair it")
	given("a finding", r.agent.Findings.List()[0].Since)
	if e.Answered < clock.Boottime()+59*time.Minute {
		t.Errorf("it was answered at %s since the boot: want an hour more than the machine's own", e.Answered)
	}
	machine, err := Machine()
	check(t, err)
	if want := random.Seeded(7).ID(); r.agent.Journal.ID() != want || record.Journal != want || record.Machine != machine {
		t.Errorf("the journal's id is %s, in etcd %s, want that of the seed: %s; the machine is %s, want this one: %s", r.agent.Journal.ID(),
			record.Journal, want, record.Machine, machine)
	}
	if _, err := os.Stat(run); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("something is in the run directory, past the disk: %v", err)
	}
	if info, err := kept.Stat(r.agent.Journal.Path()); err != nil || info.Size == 0 {
		t.Errorf("the journal is not on the disk that was given: %v", err)
	}
	r.del(c)
	r.empty()
	if joins.Load() == 0 || webs.Load() != 1 {
		t.Errorf("%d ports joined a class by the kernel that was given, and the web listened %d times", joins.Load(), webs.Load())
	}
}
