package agent

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/agent/server"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
)

// door is one more socket of the rig's agent, with limits of its own.
func (r *rig) door(l server.Limits) string {
	r.t.Helper()
	path := filepath.Join(r.dir, "door.sock")
	listener, err := server.ListenUnix(path)
	check(r.t, err)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	socket := &server.Socket{Limits: l, Handle: r.agent.respond, Observe: r.agent.Metrics.Request, Log: r.agent.Log}
	go func() { ended <- socket.Serve(ctx, listener) }()
	r.t.Cleanup(func() {
		cancel()
		check(r.t, <-ended)
	})
	return path
}

func dial(t *testing.T, socket string) *net.UnixConn {
	t.Helper()
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	check(t, conn.SetReadDeadline(time.Now().Add(time.Minute))) // stuck, then
	return conn
}

// message is a request as it travels.
func message(t *testing.T, r wire.Request) []byte {
	t.Helper()
	r.Version = wire.Version
	text, err := json.Marshal(r)
	check(t, err)
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

// answer is what a caller is told; nil: it is cut without a word.
func answer(t *testing.T, conn *net.UnixConn) *wire.Error {
	t.Helper()
	data, err := io.ReadAll(conn)
	if os.IsTimeout(err) {
		t.Fatal("it is neither told anything nor cut")
	}
	var response wire.Response
	if len(data) < 4 || json.Unmarshal(data[4:], &response) != nil || response.Error == nil {
		return nil
	}
	return response.Error
}

func served(t *testing.T, socket string) {
	t.Helper()
	response, err := wire.Call(t.Context(), socket, 0, &wire.Request{Operation: wire.Status, Verb: "STATUS"}, nil)
	if check(t, err); response.Error != nil {
		t.Fatal(response.Error)
	}
}

func TestFiveThousandSilentCallersHoldUpNobodyAndAreReported(t *testing.T) {
	r := newRig(t)
	l := server.UsualLimits
	l.Receive = time.Hour
	door := r.door(l)
	before := runtime.NumGoroutine()
	silent := make([]*net.UnixConn, 5000)
	for i := range silent {
		silent[i] = dial(t, door)
		if i%500 == 0 {
			served(t, door)
		}
	}
	served(t, door)
	for _, conn := range silent[:len(silent)-l.Connections] {
		if e := answer(t, conn); e == nil || e.Code != wire.CodeTryAgain || !strings.Contains(e.Message, "1024") {
			t.Fatalf("a caller that was cut is told %v: want code %d and how many are served", e, wire.CodeTryAgain)
		}
	}
	r.until("there is one goroutine for each that is left", func() bool { return runtime.NumGoroutine()-before < l.Connections+50 })
	for _, conn := range silent {
		conn.Close()
	}
	r.until("their goroutines have ended", func() bool { return runtime.NumGoroutine() < before+10 })
}

func TestASlowCallerIsCutAndHoldsUpNobody(t *testing.T) {
	r := newRig(t)
	l := server.UsualLimits
	l.Receive = 300 * time.Millisecond
	door := r.door(l)
	slow := dial(t, door)
	go func() {
		for _, b := range message(t, wire.Request{Operation: wire.Status}) {
			if _, err := slow.Write([]byte{b}); err != nil {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	}()
	served(t, door)
	if e := answer(t, slow); e == nil || e.Code != wire.CodeIO || !strings.Contains(e.Message, "300ms") {
		t.Errorf("it is told %v: want code %d and the time that it had", e, wire.CodeIO)
	}
}

func TestHugeMessagesTogetherAreBounded(t *testing.T) {
	r := newRig(t)
	l := server.UsualLimits
	l.Bytes = 1 << 20
	door := r.door(l)
	huge := binary.BigEndian.AppendUint32(nil, 400<<10)
	var all []*net.UnixConn
	for range 40 { // each of which says that it will send much, and does not
		conn := dial(t, door)
		_, err := conn.Write(huge)
		check(t, err)
		all = append(all, conn)
	}
	served(t, door)
	for _, conn := range all[:30] {
		if e := answer(t, conn); e == nil || e.Code != wire.CodeTryAgain {
			t.Fatalf("one of forty is told %v: want code %d", e, wire.CodeTryAgain)
		}
	}
	tooLong := dial(t, door)
	_, err := tooLong.Write([]byte{0xff, 0xff, 0xff, 0xff})
	check(t, err)
	if e := answer(t, tooLong); e == nil || e.Code != wire.CodeDecode {
		t.Errorf("a message of 4 GB: it is told %v: want code %d", e, wire.CodeDecode)
	}
}

// A caller that does not read is cut for the next one that comes.
func TestCallersThatReadNoAnswerHoldUpNobody(t *testing.T) {
	r := newRig(t)
	l := server.UsualLimits
	l.Connections = 8
	door := r.door(l)
	var set []wire.Container
	for i := range wire.MaxContainers { // their answer is more than a socket holds
		set = append(set, wire.Container{Network: "net", ID: fmt.Sprint("c", i), Interface: "eth0", Role: wire.IPAM,
			Pool: strings.Repeat("p", 1000)})
	}
	many := message(t, wire.Request{Operation: wire.Insert, Verb: "ADD", Each: true, Containers: set})
	for range 2 * l.Connections {
		conn := dial(t, door)
		_, err := conn.Write(many)
		check(t, err)
		_, err = io.ReadFull(conn, make([]byte, 1)) // the answer has begun
		check(t, err)
	}
	served(t, door)
}

func TestDescriptorsOfSilentCallersAreBounded(t *testing.T) {
	r := newRig(t)
	l := server.UsualLimits
	l.Files, l.Receive = 100, time.Hour
	door := r.door(l)
	before := descriptors(t)
	null, err := os.Open("/dev/null")
	check(t, err)
	defer null.Close()
	var all []*net.UnixConn
	for range 40 {
		conn := dial(t, door)
		fds := make([]int, 20)
		for i := range fds {
			fds[i] = int(null.Fd())
		}
		_, _, err = conn.WriteMsgUnix([]byte{0}, rightsOf(fds), nil)
		check(t, err)
		all = append(all, conn)
	}
	served(t, door)
	r.until("no more files are open than may be", func() bool { return descriptors(t)-before <= 2*len(all)+l.Files+20 })
	for _, conn := range all {
		conn.Close()
	}
	r.until("all are closed", func() bool { return descriptors(t) <= before+5 })
}

// TestRequestsThatEtcdKeepsWaitingHoldUpNoOthers has an etcd that accepts and never answers.
func TestRequestsThatEtcdKeepsWaitingHoldUpNoOthers(t *testing.T) {
	r := newRig(t)
	r.session = 30 * time.Second
	r.apply()
	r.stop()
	proxy := newProxy(t, r.etcd.Endpoints()[0], filepath.Join(r.dir, "proxy.sock"))
	r.via = []string{"unix://" + proxy.path}
	r.start()
	plain := r.stateless("plain", "")
	plain.Role = wire.IPAM
	r.add(plain)
	proxy.stick()

	stuck := 2 * cap(r.agent.Slots)
	ended := make(chan *wire.Response, stuck)
	for i := range stuck {
		c := wire.Container{Network: "net", ID: fmt.Sprint("db-", i), Interface: "eth0", Role: wire.IPAM, Class: string(allocator.Stateful),
			Namespace: "ns", App: "db", Member: fmt.Sprint("db-", i)}
		go func() {
			response, _ := wire.Call(context.Background(), r.agent.socket.Path, 0,
				&wire.Request{Operation: wire.Insert, Verb: "ADD", Containers: []wire.Container{c}}, nil)
			ended <- response
		}()
	}
	r.until("all wait for etcd", func() bool { return r.agent.Locks.Count() == stuck })
	for range 20 {
		r.del(plain)
		r.add(plain)
		served(t, r.agent.socket.Path)
	}
	if n := len(ended); n > 0 {
		t.Errorf("%d of %d requests were over before the others were served", n, stuck)
	}
	proxy.unstick()
	for range stuck {
		if response := <-ended; response == nil || response.Error != nil && response.Error.Code != wire.CodeTryAgain {
			t.Errorf("a request that etcd kept waiting is answered %+v", response)
		}
	}
}
