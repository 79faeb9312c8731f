package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/internal/etcdtest"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

func (l *lab) config() *config.Config {
	l.Helper()
	config, err := l.store.Config.Read(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	return config
}

func (l *lab) entries() []record.HistoryEntry {
	l.Helper()
	entries, err := l.store.Config.History(l.Context())
	if err != nil {
		l.Fatal(err)
	}
	return entries
}

func TestASecondApplyHasNothingToDo(t *testing.T) {
	l := newLab(t)
	name := file(t, smallest)
	l.ctl("apply", "-f", name, "--message", "the first").exits(exitDone).says("pool default", "10.42.0.0/16", "new revision")
	before := l.config()
	l.ctl("apply", "-f", name).exits(exitDone).says("nothing to do")
	if after := l.config(); after.Revision != before.Revision || len(l.entries()) != 1 {
		t.Errorf("revision %d became %d, with %d entries in the history", before.Revision, after.Revision, len(l.entries()))
	}
	if entry := l.entries()[0]; entry.Message != "the first" || !strings.Contains(entry.Who, "@") {
		t.Errorf("the history has who %q and message %q", entry.Who, entry.Message)
	}
}

func TestADryRunWritesNothing(t *testing.T) {
	l := configured(t)
	before := l.config()
	changed := file(t, smallest+"    mtu: 1400\n")
	l.ctl("apply", "-f", changed, "--dry-run").exits(exitDone).says("mtu", "1400", "dry run")

	var a applied
	answer := l.ctl("apply", "-f", changed, "--dry-run", "-o", "json").exits(exitDone)
	answer.into(&a)
	if a.Changed || a.Revision != before.Revision || len(a.Changes) != 1 {
		t.Errorf("the dry run answers %+v", a)
	}
	if after := l.config(); after.Revision != before.Revision || after.Pools["default"].MTU != 0 {
		t.Errorf("the dry run wrote: %+v", after)
	}
	l.ctl("apply", "-f", changed, "-o", "json").exits(exitDone).into(&a)
	if after := l.config(); !a.Changed || a.Revision != after.Revision || after.Pools["default"].MTU != 1400 {
		t.Errorf("apply answers %+v and leaves %+v", a, after)
	}
}

func TestADryRunRefusesWhatApplyRefuses(t *testing.T) {
	l := configured(t)
	before := l.config()
	for name, c := range map[string]struct {
		text string
		want []string
	}{
		"overlapping pools": {"pools: [{name: other, cidrs: [10.42.128.0/24]}]", []string{"other", "default", "overlap"}},
		"unaligned stateful": {"pools:\n- {name: other, cidrs: [10.43.0.0/16], stateful: [10.43.0.0/28]}",
			[]string{".yaml:2:", "10.43.0.0/28", "aligned"}},
		"too small CIDR":    {"pools:\n- {name: other, cidrs: [10.43.0.0/28]}", []string{".yaml:2:", "10.43.0.0/28", "block"}},
		"malformed address": {"pools:\n- name: other\n  cidrs: [10.43.0.0/16]\n  gateways: [10.43.0.300]", []string{".yaml:4:", "10.43.0.300"}},
		"unknown key":       {"pools:\n- name: other\n  cidr: [10.43.0.0/16]", []string{".yaml:3:", `"cidr"`, `did you mean "cidrs"?`}},
		"a smaller CIDR": {strings.Replace(smallest, "10.42.0.0/16", "10.42.0.0/17", 1),
			[]string{"default", "10.42.0.0/16", "10.42.0.0/17", "only grows"}},
		"another block size": {smallest + "    blockSize: {v4: 27}", []string{"default", "blockSize", "26", "27"}},
		"an unknown fencing": {"settings: {fencing: lax}", []string{"lax", "strict"}},
	} {
		t.Run(name, func(t *testing.T) {
			bad := file(t, c.text)
			for _, line := range [][]string{{"apply", "-f", bad}, {"apply", "-f", bad, "--dry-run"}} {
				answer := l.ctl(line...)
				answer.t = t
				answer.exits(exitError).complains(c.want...)
				if answer.out != "" {
					t.Errorf("%s\nstdout has %q", answer.line, answer.out)
				}
			}
		})
	}
	if after := l.config(); after.Revision != before.Revision {
		t.Errorf("a refused apply moved revision %d to %d", before.Revision, after.Revision)
	}
}

// A meddler is a standard input that does something before its first byte is read.
type meddler struct {
	meddle func()
	text   io.Reader
}

func (m *meddler) Read(p []byte) (int, error) {
	if m.meddle != nil {
		m.meddle()
		m.meddle = nil
	}
	return m.text.Read(p)
}

func TestOfTwoAppliesWithTheSameBaseOneLosesAndNamesTheWinner(t *testing.T) {
	l := configured(t)
	theirs, mine := smallest+"    mtu: 1400\n", smallest+"    reuse: 1m\n"
	in := &meddler{text: strings.NewReader(mine), meddle: func() {
		l.ctl("apply", "-f", file(t, theirs), "--message", "a smaller MTU").exits(exitDone)
	}}
	l.pipe(in, "apply", "-f", "-").exits(exitConflict).complains(who(), "ago", "a smaller MTU", "revision")

	config := l.config()
	if pool := config.Pools["default"]; pool.MTU != 1400 || pool.Reuse == 0 || len(l.entries()) != 2 {
		t.Errorf("pool %+v with %d entries in the history: want the winner's alone", pool, len(l.entries()))
	}
}

func TestWhoWaitsForTheInputCanBeInterrupted(t *testing.T) {
	l := newLab(t)
	ctx, interrupt := context.WithCancel(t.Context())
	never, _ := io.Pipe()
	in := &meddler{text: never, meddle: interrupt}
	var out, diagnostics bytes.Buffer
	code := run(ctx, []string{"--run-dir", etcdtest.RunDir, "--etcd-prefix", l.prefix, "apply", "-f", "-"}, in, &out, &diagnostics)
	answer{t, "berthctl apply -f -", code, out.String(), diagnostics.String()}.exits(exitError).complains("standard input")
}

func TestWhatGetPrintsCanBeApplied(t *testing.T) {
	l := configured(t)
	l.ctl("apply", "-f", "../../deploy/examples/pools.yaml").exits(exitDone).says("drainingCIDRs: none -> [\"192.168.41.0/24\"]")
	l.ctl("apply", "-f", file(t, "pools: [{name: other, cidrs: [10.9.0.0/16], reuse: 0s, exclude: [10.9.0.5-10.9.0.9], routes: [{to: "+
		"10.0.0.0/8, via: 10.9.0.2}]}]\nsettings: {session: 3s}")).exits(exitDone)
	for _, line := range [][]string{{"get", "pools", "-o", "yaml"}, {"get", "pools", "-o", "json"}, {"get", "pools", "lab", "-o", "yaml"},
		{"get", "settings", "-o", "yaml"}} {
		printed := l.ctl(line...).exits(exitDone)
		l.pipe(strings.NewReader(printed.out), "apply", "-f", "-").exits(exitDone).says("nothing to do")
	}
}

func TestAPoolIsShownWithItsModeAndTheGatewaysThatItsContainersHave(t *testing.T) {
	l := configured(t)
	const routed = "pools: [{name: behind, mode: routed, cidrs: [10.9.0.0/16, \"fd09::/64\"], ipMasq: true}, " +
		"{name: plain, mode: routed, cidrs: [10.8.0.0/16]}]"
	applied := l.ctl("apply", "-f", file(t, routed)).exits(exitDone).says("pool behind: mode: none -> routed", "ipMasq: none -> true")
	if strings.Contains(applied.out, "note:") {
		t.Errorf("there is something wrong with it: %s", applied.out)
	}
	rows := l.ctl("get", "pools").exits(exitDone).says("MODE").out
	for name, want := range map[string][]string{
		"default": {"10.42.0.0/16", "flat", "10.42.0.1", "bridge's"},
		"behind":  {"10.9.0.0/16,fd09::/64", "routed,ipMasq", "169.254.1.1,fe80::1", "path"},
		"plain":   {"10.8.0.0/16", "routed", "169.254.1.1", "path"},
	} {
		row := regexp.MustCompile("(?m)^" + name + " .*$").FindString(rows)
		fields := strings.Fields(row)
		for _, word := range want {
			if !slices.Contains(fields, word) {
				t.Errorf("the row of %s does not say %q: %s", name, word, row)
			}
		}
	}
	for _, line := range [][]string{{"get", "pools", "-o", "yaml"}, {"get", "pools", "-o", "json"}} {
		printed := l.ctl(line...).exits(exitDone)
		l.pipe(strings.NewReader(printed.out), "apply", "-f", "-").exits(exitDone).says("nothing to do")
	}
	l.ctl("apply", "-f", file(t, "pools: [{name: default, mode: flat, cidrs: [10.42.0.0/16], stateful: [10.42.0.0/20], "+
		"gateways: [10.42.0.1]}]")).exits(exitDone).says("nothing to do")
}

func TestTheModeOfAPoolInUseIsRefusedAndThatOfAnIdlePoolChanges(t *testing.T) {
	l := configured(t)
	routed := file(t, "pools: [{name: default, mode: routed, cidrs: [10.42.0.0/16], stateful: [10.42.0.0/20]}]")
	l.ctl("reserve", "shop/db/db-0").exits(exitDone)
	for _, more := range [][]string{{"--dry-run"}, nil} {
		l.ctl(append([]string{"apply", "-f", routed}, more...)...).exits(exitError).complains("from mode flat to routed", "shop/db/db-0",
			"remove pool default --drain", "make another pool")
	}
	l.ctl("release", "shop/db/db-0").exits(exitDone)
	changed := l.ctl("apply", "-f", routed).exits(exitDone).says("mode: flat -> routed")
	if strings.Contains(changed.out, "note:") { // there is no container that could not get something
		t.Errorf("there is something wrong with it: %s", changed.out)
	}
	l.ctl("get", "history").exits(exitDone).says("pool default (gateways, mode)")
	l.ctl("reserve", "shop/db/db-0").exits(exitDone)
	l.ctl("rollback", "1").exits(exitError).complains("from mode routed to flat", "shop/db/db-0")
}

func TestTheExamplesCanBeApplied(t *testing.T) {
	for _, name := range []string{"examples/pool.yaml", "examples/pools.yaml", "examples/routed.yaml", "examples/vxlan.yaml",
		"kubernetes/pool.yaml"} {
		t.Run(name, func(t *testing.T) {
			newLab(t).ctl("apply", "-f", "../../deploy/"+name).exits(exitDone).says("new revision")
		})
	}
}

func TestAPoolThatNothingUsesCanBeRemoved(t *testing.T) {
	l := configured(t)
	l.ctl("remove", "pool", "defualt").exits(exitError).complains(`did you mean "default"?`)
	l.ctl("remove", "pool", "default", "--message", "not needed").exits(exitDone).says("new revision")
	if config := l.config(); len(config.Pools) != 0 {
		t.Errorf("pools are %+v", config.Pools)
	}
	l.ctl("get", "history").exits(exitDone).says("not needed", who())
}

func TestAPoolInUseIsNotRemoved(t *testing.T) {
	l := configured(t)
	l.ctl("reserve", "shop/db/db-0").exits(exitDone)
	l.ctl("remove", "pool", "default").exits(exitError).complains("default", "1 reservation")
	if config := l.config(); len(config.Pools) != 1 {
		t.Error("the pool is gone")
	}
}

func TestADrainingCIDRIsShownAndItsRemovalWaitsForWhoUsesIt(t *testing.T) {
	l := configured(t)
	const two = "pools: [{name: lab, cidrs: [10.9.0.0/24, %s], stateful: [%s]}]"
	l.ctl("apply", "-f", file(t, fmt.Sprintf(two, "10.8.0.0/24", "10.8.0.0/26"))).exits(exitDone)
	l.ctl("reserve", "shop/db/db-0", "--pool", "lab", "--address", "10.8.0.9").exits(exitDone)
	removed := file(t, "pools: [{name: lab, cidrs: [10.9.0.0/24]}]")
	l.ctl("apply", "-f", removed, "--wait", "--timeout", "1h").exits(exitError).complains("cidr 10.8.0.0/24", "1 reservation", "10.8.0.9",
		"drain first")
	l.ctl("apply", "-f", file(t, fmt.Sprintf(two, "{cidr: 10.8.0.0/24, drain: true}", "10.8.0.0/26"))).exits(exitDone)
	l.ctl("get", "pools", "lab").exits(exitDone).says("10.9.0.0/24,10.8.0.0/24 (draining)")
	l.ctl("apply", "-f", removed).exits(exitError).complains("it is draining", "berthctl release")
	l.ctl("apply", "-f", removed, "--wait", "--timeout", "1ms").exits(exitIncomplete).complains("10.8.0.9", "Nothing is changed after 1ms")
	l.ctl("release", "shop/db/db-0").exits(exitDone)
	l.ctl("apply", "-f", removed, "--wait").exits(exitDone)
	if got := l.config().Pools["lab"].CIDRs; len(got) != 1 {
		t.Errorf("the CIDRs are %v", got)
	}
}
