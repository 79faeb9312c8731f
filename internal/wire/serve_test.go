package wire

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"reflect"
	"strings"
	"syscall"
	"testing"
)

func framed(text string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

func TestWhatIsNoRequestIsRefused(t *testing.T) {
	for what, test := range map[string]struct {
		sent []byte
		code int
		says string
	}{
		"nothing":                       {nil, CodeIO, ""},
		"half a length":                 {[]byte{0, 0}, CodeIO, ""},
		"half a message":                {framed(`{"version":1}`)[:10], CodeIO, ""},
		"an empty message":              {framed(""), CodeDecode, ""},
		"no JSON":                       {framed("{"), CodeDecode, ""},
		"more than JSON":                {framed(`{"version":1}{}`), CodeDecode, ""},
		"another type":                  {framed(`{"version":1,"containers":7}`), CodeDecode, "containers"},
		"a message that is too long":    {[]byte{0xff, 0xff, 0xff, 0xff}, CodeDecode, fmt.Sprint(maxMessage)},
		"no version":                    {framed(`{"operation":"read"}`), CodeVersion, "serves 1 to 1"},
		"a newer version":               {framed(`{"version":2}`), CodeVersion, "serves 1 to 1"},
		"a newer version of other type": {framed(`{"containers":{"a":1},"version":2}`), CodeVersion, "version 2"},
	} {
		here, there := pair(t)
		_, err := here.Write(test.sent)
		check(t, err)
		check(t, here.CloseWrite())
		_, files, err := Receive(there, ReceiveTime, nil)
		refusal, ok := errors.AsType[*Error](err)
		if !ok || refusal.Code != test.code || !strings.Contains(refusal.Message, test.says) || len(files) > 0 {
			t.Errorf("%s: error %v, %d files: want code %d and %q", what, err, len(files), test.code, test.says)
		}
	}
}

// TestARefusedRequestLeavesNoFileOpen sends the end of a pipe and sees it close.
func TestARefusedRequestLeavesNoFileOpen(t *testing.T) {
	many := func(n int) (ends []int, read *os.File) {
		r, w, err := os.Pipe()
		check(t, err)
		t.Cleanup(func() { r.Close() })
		defer w.Close()
		for range n {
			fd, err := syscall.Dup(int(w.Fd()))
			check(t, err)
			ends = append(ends, fd)
		}
		return ends, r
	}
	for what, test := range map[string]struct {
		files   int
		at      int // so many at once
		message []byte
	}{
		"no JSON":               {3, 3, framed("{")},
		"half a message":        {3, 3, framed(`{"version":1}`)[:10]},
		"a newer version":       {3, 3, framed(`{"version":2}`)},
		"more than may come":    {maxFiles + 1, filesAtOnce, framed(`{"version":1}`)},
		"more at once than may": {filesAtOnce + 3, filesAtOnce + 3, framed(`{"version":1}`)},
	} {
		fds, read := many(test.files)
		here, there := pair(t)
		sent := test.message
		for i := 0; i < len(fds); i += test.at {
			_, _, err := here.WriteMsgUnix(sent[:1], syscall.UnixRights(fds[i:min(i+test.at, len(fds))]...), nil)
			check(t, err)
			sent = sent[1:]
		}
		_, err := here.Write(sent)
		check(t, err)
		check(t, here.CloseWrite())
		for _, fd := range fds {
			syscall.Close(fd)
		}
		if _, _, err := Receive(there, ReceiveTime, nil); err == nil {
			t.Errorf("%s: it was received", what)
		}
		check(t, there.Close()) // what was never read goes with it
		within(t, what, func() {
			if n, err := io.Copy(io.Discard, read); n != 0 || err != nil {
				t.Errorf("%s: %d bytes, error %v: want the end of the pipe", what, n, err)
			}
		})
	}
}

func TestReceivedFilesDoNotPassToChildren(t *testing.T) {
	here, there := pair(t)
	message, err := encode(&Request{Version: Version})
	check(t, err)
	check(t, send(here, message, []*os.File{os.Stdin}))
	_, files, err := Receive(there, ReceiveTime, nil)
	check(t, err)
	defer files[0].Close()
	flags, _, errno := syscall.Syscall(syscall.SYS_FCNTL, files[0].Fd(), syscall.F_GETFD, 0)
	if errno != 0 || flags&syscall.FD_CLOEXEC == 0 {
		t.Errorf("flags %#x, errno %d: want FD_CLOEXEC", flags, errno)
	}
}

func TestTheAgentHearsThatItsCallerIsGone(t *testing.T) {
	here, there := pair(t)
	ctx := UntilGone(t.Context(), there)
	if ctx.Err() != nil {
		t.Fatal("the caller is there, and said to be gone")
	}
	check(t, here.Close())
	within(t, "a caller that hung up", func() { <-ctx.Done() })

	_, there = pair(t)
	parent, cancel := context.WithCancel(t.Context())
	ctx = UntilGone(parent, there)
	cancel()
	within(t, "a parent that ended", func() { <-ctx.Done() })
}

func TestThePeerIsWhoCalls(t *testing.T) {
	type peer struct {
		uid, pid int
		err      error
	}
	seen := make(chan peer, 1)
	socket := agent(t, func(conn *net.UnixConn) {
		uid, pid, err := Peer(conn)
		seen <- peer{uid, pid, err}
		well(conn)
	})
	_, err := Call(t.Context(), socket, 0, &Request{}, nil)
	check(t, err)
	if got, want := <-seen, (peer{os.Getuid(), os.Getpid(), nil}); got != want {
		t.Errorf("the peer is %+v: want %+v", got, want)
	}
}

// FuzzReceive sends arbitrary bytes: what is received is a request that can be sent again, everything else an Error.
func FuzzReceive(f *testing.F) {
	f.Add(framed(`{"version":1,"operation":"insert","containers":[{"network":"n","id":"c","interface":"eth0","addresses":["10.0.0.7"]}]}`))
	f.Add(framed(`{"version":1,"containers":[{"previous":{"addresses":[{"address":"10.0.0.7/24","gateway":"10.0.0.1"}],"routes":[{"to":"::/0"}]}}]}`))
	f.Add(framed(`{"version":2}`))
	f.Add(framed(`{"containers":null,"valid":[{}],"select":{"app":"a/b"},"version":1}`))
	f.Add([]byte{0, 0, 0, 9, '{'})
	f.Fuzz(func(t *testing.T, sent []byte) {
		if len(sent) > 1<<16 {
			return // more than fits between the ends
		}
		here, there := pair(t)
		defer here.Close()
		defer there.Close()
		_, err := here.Write(sent)
		check(t, err)
		check(t, here.CloseWrite())
		got, _, err := Receive(there, ReceiveTime, nil)
		if err != nil {
			if _, ok := errors.AsType[*Error](err); !ok {
				t.Fatalf("error %v: want an Error", err)
			}
			return
		}
		text, err := json.Marshal(got)
		check(t, err)
		var again Request
		check(t, json.Unmarshal(text, &again))
		if second, _ := json.Marshal(again); !reflect.DeepEqual(text, second) {
			t.Fatalf("sent again, %s becomes %s", text, second)
		}
	})
}
