package agent

import (
	"strconv"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/internal/wire"
)

func TestAStatefulMemberKeepsItsAddressAndAHeldOneIsRefusedByName(t *testing.T) {
	r := newRig(t)
	first := r.stateful("a", "db", "db-0")
	addr := r.add(first)
	refusal := r.refused(wire.CodeTryAgain, r.stateful("b", "db", "db-0"))
	if !strings.Contains(refusal.Message, "container a on node n1") {
		t.Errorf("the refusal %q does not name the holder", refusal.Message)
	}
	r.del(first)
	r.restart()
	second := r.stateful("c", "db", "db-0")
	if again := r.add(second); again != addr {
		t.Errorf("the member got %s, want %s again", again, addr)
	}
	r.del(second)
	r.empty()
}

func TestWhoseReservationMovedOnIsIsolated(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	addr := r.add(c)
	elsewhere, err := r.store.Reservations.Of(t.Context(), "default", addr)
	check(t, err)
	steal(t, r, elsewhere.Pool, addr)
	port := r.agent.Journal.Entries()[0].Wiring.Port
	r.until("it is isolated", func() bool { return !r.passes(port) })
	if _, err := r.ask(wire.Read, c); err == nil || !strings.Contains(err.Error(), "isolated") {
		t.Errorf("CHECK says %v", err)
	}
	r.restart()
	if r.passes(port) || r.agent.Journal.Isolated() != 1 {
		t.Error("after a restart the port passes again")
	}
	r.del(c)
	moved, err := r.store.Reservations.Of(t.Context(), "default", addr)
	check(t, err)
	if moved.Holder == nil || moved.Holder.Node != "n2" {
		t.Errorf("the DEL has detached the new holder: %+v", moved)
	}
}

// Epochs of an identity count from one again once its reservation has ended and was made anew. Of an end and a beginning that
// follow each other fast the watch tells only the latter.
func TestWhoseReservationWasMadeAnewElsewhereIsIsolated(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	r.add(c)
	r.del(c)
	addr := r.add(c)
	attachElsewhere(t, r, "default", addr, func(epoch int64) int64 {
		if epoch < 2 {
			t.Fatalf("epoch %d: want one to which an older one is possible", epoch)
		}
		return epoch - 1
	})
	r.until("it is isolated", func() bool { return r.agent.Journal.Isolated() == 1 })
}

func TestADamagedReservationHoldsUpNoOtherDetachment(t *testing.T) {
	r := newRig(t)
	first, second := r.stateful("a", "db", "db-0"), r.stateful("b", "db", "db-1")
	damaged := r.add(first)
	r.add(second)
	r.put("reservations/default/"+damaged.String(), "{")
	r.del(first)
	r.del(second)
	r.until("only the damaged one is pending", func() bool {
		pending := r.agent.Journal.Pending()
		return len(pending) == 1 && pending[0].Addresses[0] == damaged
	})
}

// The request and the publisher both want to publish what a DEL has detached.
func TestADetachmentIsSentOnce(t *testing.T) {
	r := newRig(t)
	const times = 10
	for range times {
		c := r.stateful("a", "db", "db-0")
		r.add(c)
		r.del(c)
	}
	r.until("nothing is pending", func() bool { return len(r.agent.Journal.Pending()) == 0 })
	_, body := get(t, "http://"+r.webAddress()+"/metrics")
	count := func(series string) (n int) {
		for line := range strings.Lines(body) {
			if rest, found := strings.CutPrefix(line, series+`{operation="detach"} `); found {
				n, _ = strconv.Atoi(strings.TrimSpace(rest))
			}
		}
		return n
	}
	sent, lost := count("berth_etcd_transaction_duration_seconds_count"), count("berth_etcd_errors_total")
	if sent == 0 || sent > times+lost {
		t.Errorf("%d DELs have sent %d transactions, of which %d had no answer: want one each, and no other", times, sent, lost)
	}
}

func TestTheEpochThatSettlingAdoptsOutlivesWhatGoesOnBesideIt(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	r.add(c)
	a := r.agent
	at := a.Journal.Entries()[0].Attachment
	adopt := func(epoch int64) { a.Journal.Adopt(at, epoch) }
	settled := func(what string, epoch int64) {
		t.Helper()
		if e := a.Journal.Get(at); e.Epoch != epoch {
			t.Errorf("%s has made the epoch %d of %d: the DEL would name that", what, e.Epoch, epoch)
		}
	}

	add := r.onTheWay(c)
	adopt(8)
	if response := add.end(nil); response.Error != nil {
		t.Fatal(response.Error)
	}
	settled("the same ADD again", 8)

	config := r.config()
	pool := config.Pools["default"]
	pool.MTU = 1400
	config.Pools["default"] = pool
	unlock := inside(a.Gate.Exclusive)
	defer unlock()
	brought := make(chan error, 1)
	go func() { brought <- a.updater.BringOne(t.Context(), at, config) }()
	r.until("the kernel has the new configuration", func() bool { return mtu(t, c) == 1400 })
	adopt(9)
	select {
	case err := <-brought:
		t.Error("the roll-out writes the journal while the node settles")
		brought <- err
	default:
	}
	unlock()
	check(t, <-brought)
	settled("the roll-out", 9)
	if e := a.Journal.Get(at); e.Wiring.MTU != 1400 {
		t.Errorf("the journal has MTU %d", e.Wiring.MTU)
	}
}
