package nettest

import (
	"net"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"
)

// A Stream is one datagram a millisecond from one namespace to another.
type Stream struct {
	t          testing.TB
	sent, come atomic.Int64
	quit, done chan struct{}
	receiver   *net.UDPConn
}

// NewStream begins one, when something has arrived.
func NewStream(t testing.TB, from, to Space, at netip.Addr) *Stream {
	t.Helper()
	if !Hears(t, from, to, at, Patience) {
		t.Fatal("nothing passes at first")
	}
	s := &Stream{t: t, quit: make(chan struct{}), done: make(chan struct{})}
	to.Do(func() (err error) {
		s.receiver, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		return err
	})
	var sender *net.UDPConn
	from.Do(func() (err error) {
		sender, err = net.DialUDP("udp", nil, s.receiver.LocalAddr().(*net.UDPAddr))
		return err
	})
	go func() {
		for {
			if _, err := s.receiver.Read(make([]byte, 16)); err != nil {
				return
			}
			s.come.Add(1)
		}
	}()
	go func() {
		defer close(s.done)
		defer sender.Close()
		for {
			if _, err := sender.Write([]byte("hello")); err == nil {
				s.sent.Add(1)
			}
			select {
			case <-s.quit:
				return
			case <-time.After(time.Millisecond):
			}
		}
	}()
	return s
}

// Lasts waits until some more datagrams were sent.
func (s *Stream) Lasts() {
	s.t.Helper()
	n := s.sent.Load() + 30
	Eventually(s.t, "datagrams are sent", func() bool { return s.sent.Load() >= n })
}

// Lost ends the stream, and tells how many datagrams did not arrive.
func (s *Stream) Lost() int64 {
	close(s.quit)
	<-s.done
	for deadline := time.Now().Add(2 * time.Second); s.come.Load() < s.sent.Load() && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	s.receiver.Close()
	return s.sent.Load() - s.come.Load()
}
