package lab

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// echoEvery is the time between the requests of a Pinging.
const echoEvery = 20 * time.Millisecond

// lateAnswer is how long the last answers may take, on a machine with much to do.
const lateAnswer = 10 * time.Second

// A Pinging sends echo requests from one container to another all the time, and counts the answers.
type Pinging struct {
	from, to string
	stop     chan struct{}
	done     chan struct{}
	sent     int
	refused  error // by the kernel: such a request was never on the wire
	answers  int
}

// Pinging begins to send echo requests from the container to an address.
func (c *Container) Pinging(to netip.Addr) (*Pinging, error) {
	socket, err := echoSocket(c.Netns, to)
	if err != nil {
		return nil, fmt.Errorf("lab: ping %v from %s: %w", to, c.Netns, err)
	}
	p := &Pinging{from: c.ID, to: to.String(), stop: make(chan struct{}), done: make(chan struct{})}
	go func() {
		defer close(p.done)
		defer unix.Close(socket)
		p.run(socket, to)
	}()
	return p, nil
}

func (p *Pinging) run(socket int, to netip.Addr) {
	for {
		p.sent++
		if err := unix.Send(socket, echo(to, p.sent), 0); err != nil {
			p.refused = errors.Join(p.refused, err)
		}
		for next := time.Now().Add(echoEvery); answered(socket, to, next); {
			p.answers++
		}
		select {
		case <-p.stop:
			for last := time.Now().Add(lateAnswer); p.answers < p.sent && answered(socket, to, last); {
				p.answers++
			}
			return
		default:
		}
	}
}

// End ends it. The error says how many requests had no answer.
func (p *Pinging) End() error {
	close(p.stop)
	<-p.done
	if p.answers < p.sent || p.refused != nil {
		return errors.Join(fmt.Errorf("lab: ping %s from %s: %d answers to %d requests", p.to, p.from, p.answers, p.sent), p.refused)
	}
	return nil
}
