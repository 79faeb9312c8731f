package wire

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

// well is an answer to whatever is asked.
func well(conn *net.UnixConn) {
	if _, files, err := Receive(conn, ReceiveTime, nil); err == nil {
		for _, f := range files {
			f.Close()
		}
		_ = Reply(conn, &Response{Revision: &Revision{Revision: 7}})
	}
}

func TestARequestAndItsAnswerArriveAsTheyWereSent(t *testing.T) {
	request := &Request{Operation: Insert, Verb: "ADD", Started: 42, Containers: []Container{{
		Network: "net", ID: "c1", Interface: "eth0", Role: Interface, Netns: "/run/netns/c1", NetnsFile: 1,
		Class: "stateful", Namespace: "ns", App: "db", Member: "db-0", Pool: "blue", Addresses: []string{"10.0.0.7"},
		MAC: "be:00:00:00:00:01", Bridge: "br0", Uplink: "eth1", IPMasq: true,
	}}}
	response := &Response{Version: Version, Results: []Result{{
		Class: "stateful", Pool: "blue", MAC: "be:00:00:00:00:01", HostName: "bth1", MTU: 1400, DNS: &DNS{Domain: "d"},
		Addresses: []Address{{netip.MustParsePrefix("10.0.0.7/24"), netip.MustParseAddr("10.0.0.1")},
			{Address: netip.MustParsePrefix("fd00::7/64")}},
		Routes: []Route{{To: netip.MustParsePrefix("0.0.0.0/0"), Via: netip.MustParseAddr("10.0.0.1")},
			{To: netip.MustParsePrefix("10.9.0.0/16")}},
	}}}
	received := make(chan *Request, 1)
	socket := agent(t, func(conn *net.UnixConn) {
		r, _, err := Receive(conn, ReceiveTime, nil)
		if err != nil {
			t.Error(err)
		}
		received <- r
		sent := *response
		if err := Reply(conn, &sent); err != nil {
			t.Error(err)
		}
	})
	answer, err := Call(t.Context(), socket, 0, request, nil)
	check(t, err)
	if got := <-received; !reflect.DeepEqual(got, request) {
		t.Errorf("the agent has %+v: want %+v", got, request)
	}
	if !reflect.DeepEqual(answer, response) || answer.Version != Version {
		t.Errorf("the caller has %+v: want %+v", answer, response)
	}
}

func TestAsManyFilesArriveAsASetMayHave(t *testing.T) {
	for _, n := range []int{1, filesAtOnce, filesAtOnce + 1, maxFiles} {
		var sent []*os.File
		for range n {
			f, err := os.CreateTemp(t.TempDir(), "")
			check(t, err)
			defer f.Close()
			sent = append(sent, f)
		}
		socket := agent(t, func(conn *net.UnixConn) {
			_, files, err := Receive(conn, ReceiveTime, nil)
			if err != nil || len(files) != n {
				t.Errorf("%d files arrived, error %v: want %d", len(files), err, n)
			}
			for i, f := range files {
				want, _ := sent[i].Stat()
				if got, err := f.Stat(); err != nil || !os.SameFile(got, want) {
					t.Errorf("file %d of %d is another than the one sent (error %v)", i+1, n, err)
				}
				f.Close()
			}
			_ = Reply(conn, &Response{})
		})
		_, err := Call(t.Context(), socket, 0, &Request{}, sent)
		check(t, err)
	}
}

func TestAnAgentThatIsAwayIsSaidToBe(t *testing.T) {
	dead := agent(t, well)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead + "2", Net: "unix"})
	check(t, err)
	l.SetUnlinkOnClose(false) // as SIGKILL leaves it
	l.Close()
	for what, socket := range map[string]string{
		"nothing is there": filepath.Join(t.TempDir(), "none"),
		"nobody listens":   dead + "2",
		"it hangs up":      agent(t, func(*net.UnixConn) {}),
		"it ends after it has read": agent(t, func(conn *net.UnixConn) {
			_, _, _ = Receive(conn, ReceiveTime, nil)
		}),
	} {
		_, err := Call(t.Context(), socket, 0, &Request{}, nil)
		if !errors.Is(err, ErrAway) || !strings.Contains(err.Error(), socket) {
			t.Errorf("%s: error %v: want ErrAway and the socket's path", what, err)
		}
	}
	_, err = Call(t.Context(), strings.Repeat("/long", 30), 0, &Request{}, nil)
	if err == nil || errors.Is(err, ErrAway) {
		t.Errorf("a path that no socket can have: error %v: want another than ErrAway", err)
	}
}

func TestACallIsRepeatedUntilAnAgentAnswers(t *testing.T) {
	ends := func(conn *net.UnixConn) { _, _, _ = Receive(conn, ReceiveTime, nil) }
	response, err := Call(t.Context(), agent(t, ends, func(*net.UnixConn) {}, well), time.Minute, &Request{}, nil)
	check(t, err)
	if response.Revision == nil || response.Revision.Revision != 7 {
		t.Errorf("the answer is %+v: want revision 7", response)
	}
}

func TestARefusalIsHeardThoughTheRequestIsNotRead(t *testing.T) {
	socket := agent(t, func(conn *net.UnixConn) {
		_ = Reply(conn, &Response{Error: Errorf(CodeIO, "not you")})
	})
	for _, size := range []int{1, maxMessage / 2} {
		request := &Request{Network: strings.Repeat("n", size)}
		response, err := Call(t.Context(), socket, 0, request, nil)
		if err != nil || response.Error == nil || response.Error.Message != "not you" {
			t.Errorf("a request of %d bytes: response %+v, error %v: want the refusal", size, response, err)
		}
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	socket := agent(t, func(conn *net.UnixConn) {
		_, _, _ = Receive(conn, ReceiveTime, nil)
		cancel()
		<-UntilGone(context.Background(), conn).Done()
	})
	within(t, "a call whose context has ended", func() {
		if _, err := Call(ctx, socket, time.Hour, &Request{}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v: want context.Canceled", err)
		}
	})
	within(t, "a call that waits for an agent", func() {
		if _, err := Call(ctx, socket+"-none", time.Hour, &Request{}, nil); !errors.Is(err, context.Canceled) {
			t.Errorf("error %v: want context.Canceled", err)
		}
	})
}

func TestWhatIsTooMuchIsNotSent(t *testing.T) {
	socket := agent(t, func(*net.UnixConn) { t.Error("something was sent") })
	if _, err := Call(t.Context(), socket, 0, &Request{Network: strings.Repeat("n", maxMessage)}, nil); err == nil {
		t.Error("a message that is too long: no error")
	}
	if _, err := Call(t.Context(), socket, 0, &Request{}, make([]*os.File, maxFiles+1)); err == nil {
		t.Error("too many files: no error")
	}
}
