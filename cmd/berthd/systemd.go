package main

import (
	"context"
	"fmt"
	"net"
	"os"
	"sync"
	"time"
)

// A supervisor is the process that started this one and wants its state, as systemd does (sd_notify(3)): datagrams to the socket
// in NOTIFY_SOCKET. Without that it does nothing. There is no watchdog: an agent that is slow on a loaded machine must not be
// killed for it.
type supervisor struct {
	address *net.UnixAddr // nil: there is none
	ready   sync.Once
}

// startPatience is how long the supervisor waits for an agent that cannot serve. It is bounded, because what the agent waits for
// may itself wait for the supervisor: an etcd in a container on this machine, whose runtime is started after the agent.
const startPatience = 10 * time.Second

func newSupervisor() *supervisor {
	name := os.Getenv("NOTIFY_SOCKET")
	if name == "" {
		return &supervisor{}
	}
	return &supervisor{address: &net.UnixAddr{Name: name, Net: "unixgram"}} // a name that begins with @ is an abstract one
}

func (s *supervisor) tell(state string) error {
	if s.address == nil {
		return nil
	}
	conn, err := net.DialUnix("unixgram", nil, s.address)
	if err != nil {
		return fmt.Errorf("tell the supervisor %q: %w", state, err)
	}
	defer conn.Close()
	if _, err := conn.Write([]byte(state)); err != nil {
		return fmt.Errorf("tell the supervisor %q: %w", state, err)
	}
	return nil
}

// serving reports that the agent can serve. The first time it ends the supervisor's wait.
func (s *supervisor) serving() error {
	first := false
	s.ready.Do(func() { first = true })
	if first {
		return s.tell("READY=1\nSTATUS=serving")
	}
	return s.tell("STATUS=serving")
}

// starting reports what has begun, and ends the supervisor's wait after startPatience if nothing else does before. It returns at
// once.
func (s *supervisor) starting(ctx context.Context, failed func(error)) {
	timer := time.AfterFunc(startPatience, func() {
		s.ready.Do(func() {
			if err := s.tell("READY=1\nSTATUS=cannot serve yet: see /readyz"); err != nil {
				failed(err)
			}
		})
	})
	context.AfterFunc(ctx, func() {
		timer.Stop()
		if err := s.tell("STOPPING=1"); err != nil {
			failed(err)
		}
	})
}
