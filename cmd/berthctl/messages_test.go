package main

import (
	"bytes"
	"context"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-ipam/berth/internal/etcdtest"
	"github.com/berth-ipam/berth/lease/config"
)

func TestAListNamesTheRecordsThatItLeavesOut(t *testing.T) {
	l := configured(t)
	l.join("n1")
	for kind, key := range map[string]string{
		"reservations": "reservations/default/10.42.0.17",
		"assignments":  "assignments/default/10.42.16.9",
		"blocks":       "blocks/default/10.42.16.0",
		"nodes":        "nodes/n2",
	} {
		l.damage(key, "no record")
		answer := l.ctl("get", kind)
		if answer.code != exitDone || strings.Contains(answer.out, "no record") {
			t.Errorf("get %s: exit code %d, %s", kind, answer.code, answer.out)
		}
		has(t, answer.line, "stderr", answer.err, []string{"warning: left out", l.prefix + "/" + key, "cannot be read", "berthctl doctor"})
		if n := strings.Count(answer.err, key); n != 1 {
			t.Errorf("get %s names %s %d times:\n%s", kind, key, n, answer.err)
		}
	}
	if answer := l.ctl("doctor", "--timeout", "500ms"); strings.Contains(answer.err, "left out") {
		t.Errorf("the doctor warns of what it tells:\n%s", answer.err)
	}
}

func TestAFileThatCannotBeReadIsNamed(t *testing.T) {
	l := newLab(t)
	dir := t.TempDir()
	endless := filepath.Join(dir, "endless")
	if err := os.WriteFile(endless, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(endless, 1<<40); err != nil { // a hole, which takes no room
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		dir: "is a directory", filepath.Join(dir, "none"): "no such file", endless: "16 MiB",
	} {
		l.ctl("apply", "-f", name).exits(exitError).complains(name, want)
		l.ctl("insert", "-f", name).exits(exitError).complains(name, want)
	}
	l.ctl("apply", "-f", "").exits(exitUsage).complains("--file is empty", "standard input")
}

func TestWhoWaitsForAPipeCanBeInterruptedAndIsToldSo(t *testing.T) {
	l := newLab(t)
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var out, diagnostics bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"--run-dir", etcdtest.RunDir, "--etcd-prefix", l.prefix, "apply", "-f", pipe}, nil, &out, &diagnostics)
	}()
	if _, err := os.OpenFile(pipe, os.O_WRONLY, 0); err != nil { // returns when it is read
		t.Fatal(err)
	}
	cancel()
	answer{t, "berthctl apply -f pipe", <-code, out.String(), diagnostics.String()}.exits(exitError).
		complains("read "+pipe, "interrupted: nothing was done")
	if strings.Contains(diagnostics.String(), "context canceled") {
		t.Errorf("it says how Go words it: %s", diagnostics.String())
	}
}

func TestAnInterruptedRemovalSaysThatThePoolStaysDraining(t *testing.T) {
	l := configured(t)
	l.running("n1", "10.42.64.0/26")
	ctx, cancel := context.WithCancel(t.Context())
	var out, diagnostics bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(ctx, []string{"--run-dir", etcdtest.RunDir, "--etcd-prefix", l.prefix, "remove", "pool", "default", "--drain"}, nil, &out,
			&diagnostics)
	}()
	for end := time.Now().Add(time.Minute); !l.config().Pools["default"].Draining; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("the pool is not drained")
		}
	}
	cancel()
	answer{t, "berthctl remove pool default --drain", <-code, out.String(), diagnostics.String()}.exits(exitError).
		complains("interrupted: berthctl remove pool has not ended", "look before you run it again", "pool default is draining, and stays so",
			"draining: false")
}

func TestARemovalThatAReservationKeepsSaysThatThePoolStaysDraining(t *testing.T) {
	l := configured(t)
	l.ctl("reserve", "shop/db/db-0").exits(exitDone)
	l.ctl("remove", "pool", "default", "--drain").ends(exitError).complains("1 reservation", "is draining, and stays so", "draining: false")
}

func TestWordsOfThePeopleAreOneLine(t *testing.T) {
	l := configured(t)
	for words, want := range map[string]string{"a\nb": "one line", "\x1b[31mred": "control characters", "\xff": "UTF-8",
		strings.Repeat("x", 1025): "at most 1024"} {
		for _, line := range []string{"apply -f pools.yaml", "remove pool default", "rollback 1"} {
			l.ctl(append(strings.Fields(line), "--message", words)...).exits(exitUsage).complains("--message", want)
		}
	}
	base := l.config()
	next := base.Clone()
	pool := next.Pools["default"]
	pool.MTU = 1400
	next.Pools["default"] = pool
	if _, err := l.store.Editor.Apply(t.Context(), base, next, config.Note{Who: "another\tprogram", Message: "\x1b[2Jgone\r"}); err != nil {
		t.Fatal(err)
	}
	answer := l.ctl("get", "history").exits(exitDone).says(`\x1b[2Jgone\r`, `another\tprogram`)
	if strings.ContainsAny(answer.out, "\x1b\r") {
		t.Errorf("the terminal would obey: %q", answer.out)
	}
}

func TestAValueOfTheWrongTypeSaysWhatWouldBeRight(t *testing.T) {
	l := newLab(t)
	for line, want := range map[string]string{
		"doctor --timeout 5":         `--timeout "5": want a time with its unit, such as 30s`,
		"doctor --fix=maybe":         `--fix "maybe": want true or false`,
		"insert a --pid x":           `--pid "x": want a whole number`,
		"insert a --pid -5":          "--pid -5: want the number of a process",
		"insert a":                   "want --netns",
		"insert a --netns a --pid 4": "want one of them",
		"help aply":                  `did you mean "apply"?`,
		"help get pool":              `did you mean "pools"?`,
	} {
		l.ctl(strings.Fields(line)...).exits(exitUsage).complains(want)
	}
	l.ctl("help", "get", "pools").exits(exitDone).says("berthctl get pools [NAME]")
	l.ctl("help").exits(exitDone).says("Usage:")
}

func TestANewPoolsGatewayThatIsANodesAddressIsReported(t *testing.T) {
	l := configured(t)
	l.join("n1") // at 192.0.2.1
	l.ctl("apply", "-f", file(t, "pools: [{name: lan, cidrs: [192.0.2.0/24], gateways: [192.0.2.1]}]"), "--dry-run").
		exits(exitDone).says("gateway 192.0.2.1 is the address of node n1", "choose another")
	answer := l.ctl("apply", "-f", file(t, "pools: [{name: lan, cidrs: [192.0.2.0/24], gateways: [192.0.2.254]}]")).exits(exitDone)
	if strings.Contains(answer.out, "n1") {
		t.Errorf("the gateway is nobody's, but it says:\n%s", answer.out)
	}
}
