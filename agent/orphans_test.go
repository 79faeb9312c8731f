package agent

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/berth-ipam/berth/agent/publish"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

func TestAReservationThatAnAddWithoutAnAnswerLeftBehindIsLetGo(t *testing.T) {
	r := newRig(t)
	stays := r.stateful("a", "db", "db-0")
	kept := r.add(stays)
	pool, config, err := r.agent.Pool("default")
	check(t, err)
	session := r.agent.Gate.Session()
	late, err := r.agent.Store.Reservations.Reserve(t.Context(), session, []reservation.Request{{
		Pool: *pool, PoolRevision: config.PoolRevisions["default"],
		Identity:   allocator.Identity{Namespace: "ns", App: "db", Member: "db-1", Network: "net", Interface: "eth0"},
		Attachment: allocator.Attachment{Network: "net", Container: "late", Interface: "eth0"},
	}})
	check(t, err)
	r.until("nobody has it any more", func() bool {
		s, err := r.store.Reservations.Of(t.Context(), "default", late[0].Address)
		check(t, err)
		return s == nil || s.Holder == nil // ended, since nobody was ever answered it, or let go
	})
	s, err := r.store.Reservations.Of(t.Context(), "default", kept)
	check(t, err)
	if s.Holder == nil {
		t.Error("what a container here has was let go, too")
	}
}

// A record that was damaged while its node booted anew, and repaired since, has a later revision than the node's session, as has one
// that an ADD has just made.
func TestWhatAFormerBootHasAnsweredStaysReservedThoughItsRecordIsWrittenAgain(t *testing.T) {
	r := newRig(t)
	at := r.pool().Stateful[0].Addr().Next().Next()
	since := time.Now().Add(-time.Hour)
	record := record.Reservation{
		Since: since, Epoch: 1, Identity: allocator.Identity{Namespace: "ns", App: "db", Member: "db-1", Network: "net", Interface: "eth0"},
		Holder: &record.Holder{Attachment: allocator.Attachment{Network: "net", Container: "gone", Interface: "eth0"}, Node: "n1", Since: since},
	}
	text, err := json.Marshal(record)
	check(t, err)
	r.put("identities/net/ns/db/db-1/eth0", `{"pool": "default", "addresses": ["`+at.String()+`"]}`)
	r.put("reservations/default/"+at.String(), string(text))
	r.until("it is detached", func() bool {
		s, err := r.store.Reservations.Of(t.Context(), "default", at)
		check(t, err)
		if s == nil {
			t.Fatal("the member has lost its address")
		}
		return s.Holder == nil
	})
}

func TestAnotherIdentitysReservationIsolatesWhateverItsEpoch(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	r.add(c)
	r.add(c)
	r.regain() // the epoch is raised by nothing but attaching: make it high by hand
	e := r.agent.Journal.Entries()[0]
	high := *e
	high.Epoch = 9
	check(t, r.agent.Journal.Hold(&high))
	r.agent.keeper.Settler.CompareHolder(record.Reservation{
		Pool: e.Pool, Address: e.Addresses[0], Epoch: 1,
		Identity: allocator.Identity{Namespace: "ns", App: "db", Member: "db-7", Network: "net", Interface: "eth0"},
		Holder:   &record.Holder{Attachment: allocator.Attachment{Network: "net", Container: "x", Interface: "eth0"}, Node: "n2"},
	})
	if r.agent.Journal.Isolated() != 1 {
		t.Error("its address is another identity's, and it is not isolated")
	}
}

func TestAMemberThatComesBackBeforeItsDetachmentHasReachedEtcdKeepsItsAddress(t *testing.T) {
	r := newRig(t)
	r.stop()
	r.session = 30 * time.Second
	r.apply()
	r.start()
	c := r.stateful("a", "db", "db-0")
	addr := r.add(c)
	r.etcd.Stop()
	r.del(c) // it is noted, and etcd will be told
	back := make(chan error)
	var answer *wire.Response
	go func() {
		var err error
		answer, err = r.ask(wire.Insert, r.stateful("b", "db", "db-0"))
		back <- err
	}()
	time.Sleep(publish.DetachTime + 500*time.Millisecond) // the ADD has tried in vain to tell etcd, and has gone on
	r.startEtcd()
	check(t, <-back)
	if again := answer.Results[0].Addresses[0].Address.Addr(); again != addr {
		t.Errorf("it had %s, and has %s", addr, again)
	}
}
