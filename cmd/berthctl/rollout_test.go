package main

import (
	"bytes"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
	"github.com/berth-ipam/berth/lease/session"
)

// ends is exits for what tells its progress beside the data.
func (a answer) ends(code int) answer {
	a.t.Helper()
	if a.code != code {
		a.t.Fatalf("%s\nexit code %d, want %d\nstdout: %s\nstderr: %s", a.line, a.code, code, a.out, a.err)
	}
	return a
}

// running makes a node with one stateless container, "<node>-container", of the app shop/web.
func (l *lab) running(node, wanted string) (*session.Session, record.Block) {
	l.Helper()
	config, session := l.config(), l.join(node)
	b, err := block.Claim(l.Context(), session, "default", config.PoolRevisions["default"], netip.MustParsePrefix(wanted))
	if err != nil {
		l.Fatal(err)
	}
	err = rollout.Publish(l.Context(), session, rollout.Batch{
		Status: record.Status{Applied: config.Revision, Revision: config.Revision, Containers: 1}, Blocks: []record.Block{b},
		Set: []record.Assignment{{
			Pool: "default", Address: b.Prefix.Addr().Next(), Node: node, App: allocator.App{Namespace: "shop", Name: "web"}, Since: time.Now(),
			Attachment: allocator.Attachment{Network: "berth", Container: node + "-container", Interface: "eth0"},
		}},
	})
	if err != nil {
		l.Fatal(err)
	}
	return session, b
}

func TestTheVersionOfASetNamesItsLaggards(t *testing.T) {
	l := configured(t)
	first, _ := l.running("n1", "10.42.64.0/26")
	l.running("n2", "10.42.65.0/26")
	l.ctl("version").exits(exitDone).says("complete: yes", "2 of 2", "n1-container", "n2-container", "shop/web", "10.42.64.1")
	l.ctl("apply", "-f", file(t, smallest+"    mtu: 1400\n")).exits(exitDone)
	revision := l.config().Revision
	l.report(first, record.Status{Applied: revision, Revision: revision})

	var v rollout.SetVersion
	l.ctl("version", "--pool", "default", "-o", "json").exits(exitIncomplete).into(&v)
	if v.Complete || v.Revision != revision || v.UpToDate != 1 || v.Total != 2 || len(v.Containers) != 2 || len(v.Nodes) != 1 {
		t.Fatalf("version is %+v", v)
	}
	for _, c := range v.Containers {
		if c.UpToDate != (c.Node == "n1") || c.UpToDate != (c.Reason == "") || c.App != "web" || c.Class != "stateless" {
			t.Errorf("container %+v", c)
		}
	}
	l.ctl("version", "--app", "shop/web", "-o", "yaml").exits(exitIncomplete).says("complete: false", "id: n2-container")
	l.ctl("version", "n2").exits(exitIncomplete).says("0 of 1", "n2-container", "applied revision")
	l.ctl("version", "n1-c").exits(exitDone).says("1 of 1", "n1-container")
	l.ctl("version", "--node", "n1").exits(exitDone).says("complete: yes")
	l.ctl("version", "nobody").exits(exitError).complains("nobody")
	l.ctl("version", "n").exits(exitError).complains("n1-container", "n2-container")
	l.ctl("version", "--node", "n9").exits(exitError).complains("n9")
	l.ctl("version", "--pool", "lab").exits(exitError).complains("lab")
	l.ctl("version", "--app", "shop").exits(exitUsage).complains("NAMESPACE/APP")
	l.ctl("version", "--node", "a/b").exits(exitUsage).complains("a/b")

	late := l.ctl("version", "--wait", "--timeout", "300ms").ends(exitIncomplete).says("complete: no", "n2-container").complains("1 of 2",
		"waiting for n2")
	if strings.Contains(late.out, "n1-container") {
		t.Errorf("a container that is up to date is among those that lag:\n%s", late.out)
	}
	l.ctl("__complete", "version", "").says("n1-container")
	l.ctl("__complete", "version", "--node", "").says("n2")
}

func TestWaitEndsWhenTheRollOutDoes(t *testing.T) {
	l := configured(t)
	session, _ := l.running("n1", "10.42.64.0/26")
	l.ctl("apply", "-f", file(t, smallest+"    mtu: 1400\n")).exits(exitDone)
	done := make(chan answer, 1)
	go func() { done <- l.ctl("version", "--app", "shop/web", "--wait", "-o", "json") }()
	revision := l.config().Revision
	l.report(session, record.Status{Applied: revision, Revision: revision})
	var v rollout.SetVersion
	(<-done).ends(exitDone).complains("1 of 1").into(&v)
	if !v.Complete || v.Revision != revision {
		t.Errorf("version is %+v", v)
	}
}

func TestARollbackIsANewRevision(t *testing.T) {
	l := configured(t)
	l.ctl("apply", "-f", file(t, smallest+"    mtu: 1400\n")).exits(exitDone)
	l.ctl("apply", "-f", file(t,
		"pools: [{name: lab, cidrs: [10.9.0.0/16], stateful: [10.9.0.0/20]}]\nsettings: {session: 3s}")).exits(exitDone)
	before := l.config()
	l.ctl("rollback", "1", "--dry-run").exits(exitDone).says("mtu: 1400 -> none", "session", "pool lab", "dry run")
	if after := l.config(); after.Revision != before.Revision {
		t.Fatal("the dry run wrote")
	}
	l.ctl("rollback", "9").exits(exitError).complains("from 1 to 3")
	l.ctl("rollback", "first").exits(exitUsage).complains("NUMBER", "get history")
	l.ctl("rollback").exits(exitUsage).complains("NUMBER")

	l.ctl("reserve", "shop/db/db-0", "--pool", "lab").exits(exitDone)
	l.ctl("rollback", "1", "--dry-run").exits(exitDone).says("pool lab did not exist then and stays", "1 reservation")
	l.ctl("rollback", "1", "--message", "too small").exits(exitDone).says("new revision", "pool lab did not exist then and stays")
	after := l.config()
	if len(after.Pools) != 2 || after.Pools["default"].MTU != 0 || after.Settings.Session != record.DefaultSettings().Session {
		t.Errorf("the configuration is %+v", after)
	}
	l.ctl("release", "shop/db/db-0").exits(exitDone)
	var a applied
	l.ctl("rollback", "1", "-o", "json").exits(exitDone).into(&a)
	if after := l.config(); len(after.Pools) != 1 || !a.Changed || a.Revision != after.Revision || a.Notes != nil {
		t.Errorf("it answers %+v, and leaves %+v", a, after)
	}
	l.ctl("get", "history").exits(exitDone).says("too small", "rollback to change 1")
	l.ctl("rollback", "1").exits(exitDone).says("nothing to do")
	l.ctl("rollback", "3").exits(exitDone).says("pool lab", "new revision")
}

func TestApplySaysWhatDoesNotReachRunningContainers(t *testing.T) {
	l := configured(t)
	quiet := l.ctl("apply", "-f", file(t, smallest+"    reuse: 1m\n")).exits(exitDone)
	if strings.Contains(quiet.out, "note") {
		t.Errorf("nothing is out of reach, but it says:\n%s", quiet.out)
	}
	changed := smallest + "    mtu: 1400\n    routes: [{to: 10.0.0.0/8}]\n    dns: {domain: example}\n"
	l.ctl("apply", "-f", file(t, changed), "--dry-run").exits(exitDone).says("dns is for new containers only",
		"mtu and routes are for new containers only")
	var a applied
	l.ctl("apply", "-f", file(t, changed), "-o", "json").exits(exitDone).into(&a)
	if len(a.Notes) != 2 {
		t.Errorf("notes are %q", a.Notes)
	}
	fresh := l.ctl("apply", "-f", file(t, "pools: [{name: lab, cidrs: [10.9.0.0/16], mtu: 1400, dns: {domain: a}}]")).exits(exitDone)
	if strings.Contains(fresh.out, "note") {
		t.Errorf("a new pool has no running containers, but it says:\n%s", fresh.out)
	}
}

func TestAPoolIsDrainedBeforeItIsRemoved(t *testing.T) {
	l := configured(t)
	session, wanted := l.running("n1", "10.42.64.0/26")
	l.ctl("remove", "pool", "default").exits(exitError).complains("1 owned block", "berthctl remove pool default --drain")
	l.ctl("get", "pools").exits(exitDone).says("STATE", "in use")
	l.ctl("remove", "pool", "default", "--drain", "--timeout", "300ms").ends(exitIncomplete).
		complains("stays draining", "addresses of containers: 1", "blocks of nodes: 1", "draining: false", "rollback")
	if !l.config().Pools["default"].Draining {
		t.Fatal("the pool is not draining")
	}
	l.ctl("get", "pools", "-o", "yaml").exits(exitDone).says("draining: true")
	l.ctl("reserve", "shop/db/db-0").exits(exitError).complains("draining")
	l.ctl("get", "pools").exits(exitDone).says("draining")
	l.ctl("apply", "-f", file(t, smallest)).exits(exitDone).says("nothing to do", "draining, and stays so", "draining: false")
	l.ctl("apply", "-f", file(t, smallest+"    draining: false\n"), "--dry-run").exits(exitDone).says("draining: true -> none")
	l.ctl("apply", "-f", file(t, smallest+"    draining: false\n")).exits(exitDone).says("draining: true -> none")
	if l.config().Pools["default"].Draining {
		t.Fatal("the pool was not taken back into use")
	}

	done := make(chan answer, 1)
	go func() { done <- l.ctl("remove", "pool", "default", "--drain") }()
	err := rollout.Publish(t.Context(), session, rollout.Batch{Blocks: []record.Block{wanted}, Clear: []record.Assignment{{Pool: "default",
		Address: wanted.Prefix.Addr().Next()}}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := block.Release(t.Context(), session, wanted, wanted.Prefix); err != nil {
		t.Fatal(err)
	}
	(<-done).ends(exitDone).says("new revision")
	if len(l.config().Pools) != 0 {
		t.Error("the pool is still there")
	}
	l.ctl("rollback", "1").exits(exitDone)
	if l.config().Pools["default"].Draining {
		t.Error("a pool that was taken back into use is draining")
	}
}

func TestProgressIsABarOnATerminalAndLinesElsewhere(t *testing.T) {
	for _, terminal := range []bool{false, true} {
		var out bytes.Buffer
		p := &progress{w: &out, terminal: terminal}
		p.show(0, 0, "containers")
		p.show(1, 2, "containers")
		p.show(1, 2, "containers")
		p.show(2, 2, "containers")
		p.end()
		want := "0 of 0 containers\n1 of 2 containers\n2 of 2 containers\n"
		if terminal {
			full, half := strings.Repeat("#", barWidth), strings.Repeat("#", barWidth/2)+strings.Repeat(".", barWidth/2)
			want = "\r\x1b[K[" + full + "] 0 of 0 containers\r\x1b[K[" + half + "] 1 of 2 containers\r\x1b[K[" + full + "] 2 of 2 containers\n"
		}
		if out.String() != want {
			t.Errorf("terminal %v: %q, want %q", terminal, out.String(), want)
		}
	}
	var out bytes.Buffer
	narrow := &progress{w: &out, terminal: true, columns: 10}
	narrow.show(1, 2, "containers")
	if out.String() != "\r\x1b[K[########" {
		t.Errorf("on a narrow terminal: %q", out.String())
	}
	if _, terminal := terminalOf(new(bytes.Buffer)); terminal {
		t.Error("a buffer is taken for a terminal")
	}
}
