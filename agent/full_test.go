package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/disk"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/record"
)

// disk gives the run directory a file system of its own, and restarts the agent on it. fill takes all that is left.
func (r *rig) disk(bytes int) (fill, free func()) {
	r.t.Helper()
	r.stop()
	dir := filepath.Dir(r.agent.socket.Path)
	held, err := os.ReadFile(r.agent.Journal.Path())
	check(r.t, err)
	check(r.t, unix.Mount("disk", dir, "tmpfs", 0, fmt.Sprintf("size=%d", bytes)))
	r.t.Cleanup(func() { _ = unix.Unmount(dir, unix.MNT_DETACH) })
	check(r.t, os.WriteFile(r.agent.Journal.Path(), held, 0o600))
	r.start()
	filling := filepath.Join(dir, "filling")
	fill = func() {
		r.t.Helper()
		f, err := os.Create(filling)
		check(r.t, err)
		defer f.Close()
		for n := 1 << 20; n > 0; n /= 2 {
			for err = nil; err == nil; {
				_, err = f.Write(make([]byte, n))
			}
		}
	}
	return fill, func() { check(r.t, os.Remove(filling)) }
}

// beginsAndJoins starts the agent and waits until it has joined and settled, whether it allocates or not.
func (r *rig) beginsAndJoins() {
	r.t.Helper()
	r.begin()
	r.until("the agent has settled", func() bool { return r.agent.WhyNotReady() == "" })
}

// raise gives a reservation a higher epoch, as one has that was elsewhere meanwhile, and is attached here all the same.
func (r *rig) raise(addr netip.Addr, by int64) (epoch int64) {
	r.t.Helper()
	key := "reservations/default/" + addr.String()
	got, err := r.etcdctl().Get(r.t.Context(), "/berth/v1/"+key)
	check(r.t, err)
	var record map[string]any
	check(r.t, json.Unmarshal(got.Kvs[0].Value, &record))
	epoch = int64(record["epoch"].(float64)) + by
	record["epoch"] = epoch
	text, err := json.Marshal(record)
	check(r.t, err)
	r.put(key, string(text))
	return epoch
}

func attachmentOf(c wire.Container) allocator.Attachment {
	return allocator.Attachment{Network: c.Network, Container: c.ID, Interface: c.Interface}
}

func TestAFullRunDirectoryLetsGoOfNobodyAndStopsOnlyWhatIsNew(t *testing.T) {
	r := newRig(t)
	fill, free := r.disk(2 << 20)
	members := []wire.Container{}
	for i := range 8 {
		c := r.stateful(fmt.Sprint("db-", i), "db", fmt.Sprint("db-", i))
		r.add(c)
		members = append(members, c)
	}
	plain := r.stateless("plain", "web")
	r.add(plain)
	r.stop()
	fill()
	for range 3 { // one settling after the other
		for _, c := range members {
			r.raise(r.addressOf(c), 5)
		}
		r.beginsAndJoins()
		r.regain()
		for _, c := range members {
			at := attachmentOf(c)
			held, err := r.store.Reservations.Of(t.Context(), "default", r.addressOf(c))
			check(t, err)
			e := r.agent.Journal.Get(at)
			if held.Holder == nil || held.Holder.Attachment != at || held.Holder.Node != "n1" {
				t.Fatalf("etcd attaches the address of %s, which runs, to %+v", c.ID, held.Holder)
			}
			if e.Epoch != held.Epoch || e.Isolated != nil || !r.passes(e.Wiring.Port) {
				t.Errorf("%s has epoch %d of %d, is isolated: %v, passes: %v", c.ID, e.Epoch, held.Epoch, e.Isolated, r.passes(e.Wiring.Port))
			}
			if _, err := r.ask(wire.Read, c); err != nil {
				t.Errorf("CHECK of %s: %v", c.ID, err)
			}
		}
		r.stop()
	}
	r.beginsAndJoins()
	for i := 0; ; i++ { // the file may have room for a few
		if _, err := r.ask(wire.Insert, r.stateful(fmt.Sprint("new-", i), "db", fmt.Sprint("new-", i))); err != nil {
			if !strings.Contains(err.Error(), "no room") && !strings.Contains(err.Error(), "no space") {
				t.Errorf("an ADD without room is refused with %v", err)
			}
			break
		}
	}
	if err := r.agent.reporter.NotReady(); err == nil || !strings.Contains(err.Error(), "room") {
		t.Errorf("/readyz says %v", err)
	}
	r.until("it is told", func() bool { return r.found("journal-full") || r.found("journal-behind") })
	for _, e := range r.agent.Journal.Entries() {
		c := wire.Container{Network: e.Attachment.Network, ID: e.Attachment.Container, Interface: e.Attachment.Interface}
		if _, err := r.ask(wire.Delete, c); err != nil {
			t.Errorf("DEL of %s: %v", c.ID, err)
		}
	}
	r.empty()
	free()
	r.until("it has ended", func() bool {
		return r.agent.reporter.NotReady() == nil && !r.found("journal-full") && !r.found("journal-behind")
	})
	r.add(r.stateful("after", "db", "db-0"))
}

func (r *rig) addressOf(c wire.Container) netip.Addr {
	r.t.Helper()
	j, err := journal.Open(disk.Machine{}, r.agent.Journal.Path(), journal.Header{Node: "n1", Boot: r.agent.Boot}, clock.Boottime)
	check(r.t, err)
	defer j.Close()
	e := j.Get(attachmentOf(c))
	if e == nil {
		r.t.Fatalf("the journal does not know %s", c.ID)
	}
	return e.Addresses[0]
}

// found reports whether a finding of the kind stands.
func (r *rig) found(kind string) bool {
	for _, f := range r.agent.Findings.List() {
		if f.Kind == kind {
			return true
		}
	}
	return false
}

func TestAnEmptiedRunDirectoryIsPutBackFromMemory(t *testing.T) {
	r := newRig(t)
	kept, member := r.stateless("a", "web"), r.stateful("b", "db", "db-0")
	addr, reserved := r.add(kept), r.add(member)
	check(t, os.RemoveAll(filepath.Dir(r.agent.socket.Path)))
	r.until("the agent is found again", func() bool { _, err := r.ask(wire.Read, kept); return err == nil })
	if _, err := os.Stat(r.agent.Spool()); err != nil {
		t.Error(err)
	}
	r.until("the journal is there again", func() bool { _, err := os.Stat(r.agent.Journal.Path()); return err == nil })
	r.restart()
	if x, y := r.add(kept), r.add(member); x != addr || y != reserved {
		t.Errorf("after the loss %s and %s, before %s and %s", x, y, addr, reserved)
	}
	r.del(kept)
	r.del(member)
	r.empty()
}

func TestThatTheSocketOfTheMachinesOwnEtcdIsGoneIsReported(t *testing.T) {
	r := newRig(t)
	path := filepath.Join(r.dir, "etcd.sock")
	check(t, os.Rename(path, path+".away"))
	r.until("it is told", func() bool { return r.found("socket-gone") })
	check(t, os.Rename(path+".away", path))
	r.until("it is told no more", func() bool { return !r.found("socket-gone") })
}

func TestARunDirectoryThatCannotBePutBackIsReportedAndNothingNewIsHeld(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	r.add(c)
	check(t, os.RemoveAll(filepath.Dir(r.agent.socket.Path)))
	check(t, os.WriteFile(filepath.Dir(r.agent.socket.Path), nil, 0o600)) // a file in its place: nothing can be made below it
	r.until("it is told", func() bool { return r.found("journal-behind") && r.found("socket-gone") })
	if err := r.agent.reporter.NotReady(); err == nil {
		t.Error("/readyz says that all is well")
	}
	if err := r.agent.Journal.Hold(&journal.Entry{Attachment: attachmentOf(r.stateless("new", ""))}); err == nil {
		t.Error("something new is held that no later agent would know")
	}
	check(t, os.Remove(filepath.Dir(r.agent.socket.Path)))
	r.until("all is back", func() bool {
		return r.agent.reporter.NotReady() == nil && !r.found("journal-behind") && !r.found("socket-gone")
	})
	r.del(c)
	r.empty()
}

func TestARunningContainerPassesThoughItsRepeatedAddFailsAfterItsPortWasMadeAnew(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	r.add(c)
	fill, _ := r.disk(2 << 20)
	fill()
	r.until("nothing new is held", func() bool {
		_, err := r.ask(wire.Insert, r.stateless("new", "web"))
		return err != nil
	})
	r.rearrange(c)
	if _, err := r.ask(wire.Insert, c); err == nil {
		t.Fatal("the journal has room: the ADD is answered")
	}
	if has := within(t, c); has.mac == "02:00:00:00:00:01" {
		t.Fatal("the port is as it was")
	}
	if e := r.agent.Journal.Get(attachmentOf(c)); !r.passes(e.Wiring.Port) {
		t.Error("it is cut off")
	}
}

// rearrange changes a container's interface, so that a repeated ADD makes the port anew.
func (r *rig) rearrange(c wire.Container) {
	r.t.Helper()
	check(r.t, sandbox.Within(c.Netns, func() error {
		link, err := netlink.LinkByName(c.Interface)
		if err != nil {
			return err
		}
		return netlink.LinkSetHardwareAddr(link, net.HardwareAddr{2, 0, 0, 0, 0, 1})
	}))
}

func TestARepeatedAddThatFailsOpensNoPortWhoseAddressIsAnothers(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	r.add(c)
	r.rearrange(c)
	add := r.onTheWay(c)
	pool, _, err := r.agent.Pool(add.Pool)
	check(t, err)
	block, _ := r.agent.addresses.Blocks.Of(pool, add.Addresses[0])
	block.Parts, block.Revision = []record.Part{{Prefix: block.Prefix, Owner: "n2"}}, 1<<40
	r.agent.addresses.Blocks.Put(block) // the view is news first; who is isolated follows
	if response := add.end(errors.New("no more links")); response.Error == nil {
		t.Fatalf("it is answered: %+v", response)
	}
	if r.passes(add.Wiring.Port) {
		t.Error("its port passes")
	}
}

func TestARepeatedAddThatFailsPutsNoPortThatIsGoneIntoAClass(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	r.add(c)
	r.rearrange(c)
	add := r.onTheWay(c)
	check(t, r.agent.Kernel().Detach(add.Wiring.Port))
	if response := add.end(errors.New("no more links")); response.Error == nil {
		t.Fatalf("it is answered: %+v", response)
	}
	if r.passes(add.Wiring.Port) {
		t.Error("the next port of its name passes before its ADD is answered")
	}
}
