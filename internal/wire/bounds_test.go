package wire

import (
	"encoding/binary"
	"errors"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestACallerThatSendsAByteNowAndThenIsCutAndTold(t *testing.T) {
	for what, sent := range map[string][]byte{"nothing": nil, "bytes now and then": framed(`{"version":1,"operation":"status"}`)} {
		here, there := pair(t)
		go func() {
			for _, b := range sent {
				if _, err := here.Write([]byte{b}); err != nil {
					return
				}
				time.Sleep(20 * time.Millisecond)
			}
		}()
		within(t, what, func() {
			_, _, err := Receive(there, 100*time.Millisecond, nil)
			if e := AsError(err); err == nil || e.Code != CodeIO || !strings.Contains(e.Message, "100ms") {
				t.Errorf("%s: error %v: want code %d and the time that it had", what, err, CodeIO)
			}
		})
	}
}

func TestWhatAMessageCostsIsClaimedBeforeItIsRead(t *testing.T) {
	here, there := pair(t)
	message := framed(`{"version":1}`)
	check(t, send(here, message, []*os.File{os.Stdin, os.Stdin}))
	var bytes, files int
	_, got, err := Receive(there, time.Minute, func(b, f int) error { bytes += b; files += f; return nil })
	check(t, err)
	for _, f := range got {
		f.Close()
	}
	if bytes != len(message)-4 || files != 2 {
		t.Errorf("%d bytes and %d files were claimed: want %d and 2", bytes, files, len(message)-4)
	}
	// What is refused need not have come, and its files are closed.
	here, there = pair(t)
	read, write, err := os.Pipe()
	check(t, err)
	check(t, send(here, binary.BigEndian.AppendUint32(nil, maxMessage), []*os.File{write}))
	check(t, write.Close())
	within(t, "a claim that is refused", func() {
		_, _, err = Receive(there, time.Minute, func(b, _ int) error {
			if b > 0 {
				return Errorf(CodeTryAgain, "not now")
			}
			return nil
		})
		if e := AsError(err); e.Code != CodeTryAgain || e.Message != "not now" {
			t.Errorf("error %v: want that of the claim", err)
		}
		if n, _ := read.Read(make([]byte, 1)); n != 0 {
			t.Error("its file is still open")
		}
	})
}

func TestASmallMessageOfMillionsOfContainersCostsLittle(t *testing.T) {
	text := `{"version":1,"containers":[` + strings.Repeat("{},", 1_300_000) + `{}]}`
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r := new(Request)
	here, there := pair(t)
	go func() {
		_, _ = here.Write(framed(text))
	}()
	err := acceptable(r, (&receiver{conn: there}).message(r))
	runtime.ReadMemStats(&after)
	if e := AsError(err); err == nil || e.Code != CodeOperation || !strings.Contains(e.Message, "1000") {
		t.Errorf("error %v: want code %d and how many there may be", err, CodeOperation)
	}
	if cost := after.TotalAlloc - before.TotalAlloc; cost > 64<<20 {
		t.Errorf("%d MB were allocated for a message of %d MB", cost>>20, len(text)>>20)
	}
}

func TestAnAnswerThatIsTooLongIsSaidToBe(t *testing.T) {
	socket := agent(t, func(conn *net.UnixConn) {
		_, _, _ = Receive(conn, ReceiveTime, nil)
		check(t, Reply(conn, &Response{Results: []Result{{HostName: strings.Repeat("x", maxMessage)}}}))
	})
	response, err := Call(t.Context(), socket, 0, &Request{}, nil)
	if errors.Is(err, ErrAway) {
		t.Fatal("the agent is said to be away")
	}
	check(t, err)
	if response.Error == nil || !strings.Contains(response.Error.Message, "fewer containers") {
		t.Errorf("the answer is %+v: want an error that says what to do", response)
	}
}
