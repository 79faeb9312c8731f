package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"syscall"
	"testing"

	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/disk"
	"github.com/berth-ipam/berth/internal/wire"
)

func TestWithoutAnAgentTheRuntimeIsToldToComeAgain(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(shortDir(t), "none.sock")
	for verb, code := range map[string]uint{"ADD": 11, "CHECK": 11, "GC": 11, "STATUS": 50} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			invocation{verb: verb, config: with(asIPAM, `"prevResult":{},"cni.dev/valid-attachments":[]`)}.fails(t, socket, code, socket, "berthd")
		})
	}
}

func TestAFailureToAskHasTheCodeOfItsCause(t *testing.T) {
	late, away, refused := fmt.Errorf("no answer: %w", context.DeadlineExceeded), fmt.Errorf("dial: %w",
		wire.ErrAway), errors.New("permission denied")
	for _, test := range []struct {
		code int
		err  error
		want int
	}{
		{wire.CodeTryAgain, late, 11}, {wire.CodeTryAgain, away, 11}, {wire.CodeTryAgain, refused, 5},
		{wire.CodeUnavailable, late, 50}, {wire.CodeUnavailable, away, 50}, {wire.CodeUnavailable, refused, 50},
		{wire.CodeTryAgain, wire.Errorf(wire.CodeConfig, "no such pool"), 7},
	} {
		if got := wire.AsError(unanswered(test.code, test.err)).Code; got != test.want {
			t.Errorf("%v becomes code %d: want %d", test.err, got, test.want)
		}
	}
	if err := unanswered(wire.CodeTryAgain, nil); err != nil {
		t.Errorf("no failure becomes %v", err)
	}
}

func TestAnAgentThatCannotBeAskedIsAnIOFailure(t *testing.T) {
	socket := filepath.Join(shortDir(t), "file", "berth.sock")
	must(t, os.WriteFile(filepath.Dir(socket), nil, 0o600))
	for verb, code := range map[string]uint{"ADD": 5, "DEL": 5, "STATUS": 50} {
		invocation{verb: verb, config: asInterface}.fails(t, socket, code, socket)
	}
}

// TestAnAddOutlivesTheAgentsRestart has the first agent end in the middle of a request.
func TestAnAddOutlivesTheAgentsRestart(t *testing.T) {
	socket := filepath.Join(shortDir(t), "berth.sock")
	first, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
	must(t, err)
	failed := make(chan error, 1)
	go func() {
		conn, err := first.AcceptUnix()
		if err == nil {
			_, _, err = wire.Receive(conn, wire.ReceiveTime, nil)
			err = errors.Join(err, first.Close(), conn.Close())
		}
		failed <- err
	}()
	add := make(chan struct{})
	go func() {
		defer close(add)
		invocation{config: asInterface}.succeeds(t, socket)
	}()
	must(t, <-failed)
	second := newAgent(t, granted, socket)
	within(t, "ADD", func() { <-add })
	second.one(t)
}

// notes are what lies in the spool beside a socket.
func notes(t *testing.T, socket string) []wire.NoteFile {
	t.Helper()
	found, err := wire.ReadNotes(disk.Machine{}, filepath.Join(filepath.Dir(socket), "spool"))
	must(t, err)
	return found
}

func TestADelWithoutAnAgentLeavesANote(t *testing.T) {
	socket := filepath.Join(shortDir(t), "run", "berth.sock")
	before := int64(clock.Boottime())
	if output := (invocation{verb: "DEL", config: asInterface, netns: "-"}).succeeds(t, socket); output != "" {
		t.Errorf("it prints %q: want nothing", output)
	}
	found := notes(t, socket)
	if len(found) != 1 || found[0].Err != nil {
		t.Fatalf("the spool holds %+v: want one note", found)
	}
	want := wire.Container{Network: "net", ID: "c1", Interface: "eth0", Role: wire.Interface}
	if got := found[0].Note; !reflect.DeepEqual(got.Container, want) || got.Started < before || got.Started > int64(clock.Boottime()) {
		t.Errorf("the note is %+v: want %+v, and when the plugin began", got, want)
	}
	info, err := os.Stat(found[0].Path)
	must(t, err)
	if info.Mode() != fs.FileMode(0o600) {
		t.Errorf("the note has mode %v: want 0600", info.Mode())
	}
}

// TestADelWhoseAgentNeverAnswersLeavesANote meets an agent that takes requests and is stuck.
func TestADelWhoseAgentNeverAnswersLeavesANote(t *testing.T) {
	t.Parallel()
	a := newAgent(t, func(*wire.Request) *wire.Response { return nil })
	invocation{verb: "DEL", config: asInterface}.succeeds(t, a.socket)
	if found := notes(t, a.socket); len(found) != 1 {
		t.Errorf("the spool holds %+v: want one note", found)
	}
}

// TestANoteIsTakenBackWhenTheAgentComesInTime has the agent end during the first attempt and answer the second.
func TestANoteIsTakenBackWhenTheAgentComesInTime(t *testing.T) {
	t.Parallel()
	for what, test := range map[string]struct {
		answer *wire.Response
		code   uint
		left   int
	}{
		"it is done":  {&wire.Response{}, 0, 0},
		"it is not":   {&wire.Response{Error: wire.Errorf(wire.CodeTryAgain, "later")}, 11, 1},
		"it is stuck": {nil, 0, 1},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			socket := filepath.Join(shortDir(t), "berth.sock")
			l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket, Net: "unix"})
			must(t, err)
			attempts := make(chan int, 10) // for each, how many notes there are
			go func() {
				defer close(attempts)
				for n := 1; ; n++ {
					conn, err := l.AcceptUnix()
					if err != nil {
						return
					}
					_, _, _ = wire.Receive(conn, wire.ReceiveTime, nil)
					found, _ := wire.ReadNotes(disk.Machine{}, filepath.Join(filepath.Dir(socket), "spool"))
					attempts <- len(found)
					switch {
					case n == 1:
					case test.answer == nil:
						<-wire.UntilGone(context.Background(), conn).Done()
					default:
						_ = wire.Reply(conn, test.answer)
					}
					conn.Close()
				}
			}()
			call := invocation{verb: "DEL", config: asInterface}
			if test.code == 0 {
				call.succeeds(t, socket)
			} else {
				call.fails(t, socket, test.code, "later")
			}
			must(t, l.Close())
			var saw []int
			for n := range attempts {
				saw = append(saw, n)
			}
			if !slices.Equal(saw, []int{0, 1}) {
				t.Errorf("the attempts see %v notes: want one attempt before the note and one after", saw)
			}
			if found := notes(t, socket); len(found) != test.left {
				t.Errorf("the spool holds %d notes: want %d", len(found), test.left)
			}
		})
	}
}

func TestACallerThatIsEndedHangsUp(t *testing.T) {
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGKILL} {
		asked, gone := make(chan struct{}), make(chan struct{})
		a := newAgent(t, func(*wire.Request) *wire.Response { close(asked); return nil })
		command := invocation{config: asInterface}.command(t, a.socket)
		must(t, command.Start())
		go func() {
			defer close(gone)
			_ = command.Wait()
		}()
		within(t, "ADD", func() { <-asked })
		must(t, command.Process.Signal(signal))
		within(t, signal.String(), func() { <-gone })
		if command.ProcessState.Success() {
			t.Errorf("%v: it ended well", signal)
		}
	}
}
