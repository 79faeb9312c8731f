package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// A Stream is echo requests that a container sends to an address all the time.
type Stream struct {
	to     netip.Addr
	socket int
	stop   chan struct{}
	ended  sync.WaitGroup

	mu   sync.Mutex
	sent []Echo
}

// An Echo is a request of a stream. Its number is its place in the stream.
type Echo struct {
	Sent     time.Time
	Answered bool
}

// maxEchoes is how many requests a stream has: more have no numbers of their own.
const maxEchoes = 1<<16 - 1

// Stream sends an echo request to an address at each interval, until the stream is ended.
func (c *Container) Stream(to netip.Addr, every time.Duration) (*Stream, error) {
	socket, err := echoSocket(c.Netns, to)
	if err == nil {
		wait := unix.NsecToTimeval((100 * time.Millisecond).Nanoseconds())
		err = unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &wait)
	}
	if err != nil {
		return nil, fmt.Errorf("lab: ping %v from %s: %w", to, c.Netns, err)
	}
	s := &Stream{to: to, socket: socket, stop: make(chan struct{})}
	s.ended.Go(func() { s.send(every) })
	s.ended.Go(s.listen)
	return s, nil
}

func (s *Stream) send(every time.Duration) {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for number := 0; number <= maxEchoes; number++ {
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
		s.mu.Lock()
		s.sent = append(s.sent, Echo{Sent: time.Now()})
		s.mu.Unlock()
		_ = unix.Send(s.socket, echo(s.to, number), 0) // what the kernel refuses is lost
	}
}

func (s *Stream) listen() {
	buffer := make([]byte, 512)
	for {
		select {
		case <-s.stop:
			return
		default:
		}
		n, _, err := unix.Recvfrom(s.socket, buffer, 0)
		if err != nil {
			continue // none has come for a while, or the kernel tells that one was refused
		}
		if number, is := replied(buffer[:n], s.to); is {
			s.mu.Lock()
			if number < len(s.sent) {
				s.sent[number].Answered = true
			}
			s.mu.Unlock()
		}
	}
}

// Since gives the requests that were sent after some time.
func (s *Stream) Since(begin time.Time) (all []Echo) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.sent {
		if e.Sent.After(begin) {
			all = append(all, e)
		}
	}
	return all
}

// Answered is nil when so many requests in a row, sent after some time, were answered.
func (s *Stream) Answered(since time.Time, inARow int) error {
	row := 0
	for _, e := range s.Since(since) {
		if row++; !e.Answered {
			row = 0
		}
		if row == inARow {
			return nil
		}
	}
	return errors.New("lab: no " + fmt.Sprint(inARow) + " requests in a row to " + s.to.String() + " were answered")
}

// End ends the stream.
func (s *Stream) End() {
	close(s.stop)
	s.ended.Wait()
	unix.Close(s.socket)
}
