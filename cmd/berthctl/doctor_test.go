package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/etcdtest"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/doctor"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
	"github.com/berth-ipam/berth/lease/session"
)

// damage writes a key as somebody with etcdctl would.
func (l *lab) damage(key, value string) {
	l.Helper()
	if _, err := etcdtest.Client(l).Put(l.Context(), l.prefix+"/"+key, value); err != nil {
		l.Fatal(err)
	}
}

func TestTheDoctorTellsWhatItFindsAndRepairsWhatItCan(t *testing.T) {
	l := configured(t)
	l.ctl("doctor").exits(exitDone).says("0 wrong")
	l.damage("status/ghost", "{}")
	l.damage("nonsense", "{}")
	l.ctl("doctor").exits(exitIncomplete).
		says("status-unknown  "+l.prefix+"/status/ghost, node ghost", "cause  there is no node ghost", "--fix", "key-unreadable",
			"etcdctl del '"+l.prefix+"/nonsense'", "2 wrong").
		complains("2 found; berthctl doctor --fix repairs 1")
	l.ctl("doctor", "--fix").exits(exitIncomplete).says("repaired: status-unknown",
		"1 wrong, 1 repaired").complains("1 found, which a person has to repair")
	var report doctor.Report
	l.ctl("doctor", "-o", "json").exits(exitIncomplete).into(&report)
	if len(report.Findings) != 1 || report.Findings[0].Kind != doctor.KeyUnreadable || report.Findings[0].Fix {
		t.Errorf("the report is %+v", report)
	}
	l.ctl("doctor", "-o", "yaml").exits(exitIncomplete).says("kind: key-unreadable")
	l.ctl("doctor", "--timeout", "0s").exits(exitUsage).complains("--timeout")
}

// expired is a node that holds a block, and whose session is over.
func (l *lab) expired(name string) {
	l.Helper()
	if _, err := l.peer.Sessions.Handshake(l.Context(), name, "machine-"+name, session.Past{}); err != nil {
		l.Fatal(err)
	}
	config := l.config()
	session, err := l.peer.Sessions.Join(l.Context(), record.Node{
		Name: name, Machine: "machine-" + name, Boot: "b", Journal: "j", Version: "v1", Fencing: config.Settings.Fencing,
		Session: allocator.Duration(2 * time.Second), AddressLease: allocator.Duration(6 * time.Second), Started: time.Now(),
	})
	if err == nil {
		_, err = block.Claim(l.Context(), session, "default", config.PoolRevisions["default"], netip.MustParsePrefix("10.42.64.0/26"))
	}
	if err != nil {
		l.Fatal(err)
	}
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		live, err := l.store.Nodes.Sessions(l.Context())
		if err != nil || time.Now().After(end) {
			l.Fatalf("the session of %s has not expired: %v, %v", name, live, err)
		}
		if len(live) == 0 {
			return
		}
	}
}

func TestANodeThatIsGoneIsRemovedAndItsNameIsFree(t *testing.T) {
	l := configured(t)
	l.expired("n1")
	l.ctl("node", "remove", "n2").exits(exitError).complains("no node", `did you mean "n1"?`)
	// The right is waited for, with the seconds shown beside the data.
	waited := l.ctl("node", "remove", "n1")
	if waited.code != exitDone || !strings.Contains(waited.err, "seconds waited until the right of node n1 has run out") {
		t.Errorf("exit code %d: %s", waited.code, waited.err)
	}
	waited.says("n1", "PARTS OF BLOCKS")
	l.ctl("node", "remove", "n1").exits(exitDone).says("n1")
	var nodes nodesForm
	l.ctl("get", "nodes", "-o", "json").exits(exitDone).into(&nodes)
	if len(nodes.Nodes) != 0 {
		t.Errorf("the gravestone is listed: %+v", nodes)
	}
	l.ctl("status").exits(exitDone)
	if blocks, err := l.store.Blocks.List(t.Context()); err != nil || len(blocks) > 0 {
		t.Errorf("blocks are left: %v, %v", blocks, err)
	}
	l.ctl("doctor").exits(exitDone)
}

func TestALiveNodeIsRemovedByForceAfterItsRiskIsConfirmed(t *testing.T) {
	l := configured(t)
	session := l.join("n1")
	l.ctl("node", "remove", "n1").exits(exitError).complains("has a session", "--force", "live twice")
	l.ctl("node", "remove", "n1", "--force").exits(exitUsage).complains("live twice", "Write n1 to go on", "nothing was done")
	l.pipe(strings.NewReader("n2\n"), "node", "remove", "n1", "--force").exits(exitUsage).complains("nothing was done")
	if live, err := l.store.Nodes.Sessions(t.Context()); err != nil || len(live) != 1 {
		t.Fatalf("sessions are %v, %v", live, err)
	}
	confirmed := l.pipe(strings.NewReader("n1\n"), "node", "remove", "n1", "--force", "-o", "json")
	var removal admin.Removal
	confirmed.into(&removal)
	if confirmed.code != exitDone || removal.Node != "n1" {
		t.Errorf("exit code %d, %+v: %s", confirmed.code, removal, confirmed.err)
	}
	if err := rollout.Publish(t.Context(), session, rollout.Batch{}); err == nil {
		t.Error("the removed node's session still publishes")
	}
	l.join("n1")
	if unasked := l.ctl("node", "remove", "n1", "--force", "--yes").complains("live twice"); unasked.code != exitDone ||
		strings.Contains(unasked.err, "Write") {
		t.Errorf("exit code %d: %s", unasked.code, unasked.err)
	}
}
