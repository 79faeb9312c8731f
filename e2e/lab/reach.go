package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"time"

	"golang.org/x/sys/unix"
)

// dialIn makes a client's connections inside the namespace that is at a path then.
func dialIn(path string) func(context.Context, string, string) (net.Conn, error) {
	return func(ctx context.Context, network, address string) (connection net.Conn, err error) {
		err = within(path, func() (err error) {
			connection, err = new(net.Dialer).DialContext(ctx, network, address)
			return err
		})
		return connection, err
	}
}

// Asks reads from a member of etcd what most members agree on, as a program of the node does that is patient for as
// long as ctx. It keeps its connection until a read fails.
func (n *Node) Asks(ctx context.Context, m *Member) error {
	// etcd's health is a linearizable read.
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Endpoint()+"/health", nil)
	if err != nil {
		return err
	}
	answer, err := n.reads.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	words, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("lab: etcd %s says to %s: %s", m.Name, n.Name, words)
	}
	return err
}

// Severed is nil when no connection from a machine to a member of etcd comes about, since nothing comes back; a refusal
// is an answer.
func (l *Lab) Severed(ctx context.Context, from string, m *Member) error {
	path := ""
	for _, n := range l.Nodes {
		if n.Name == from {
			path = n.netns
		}
	}
	if i := slices.IndexFunc(l.Etcd.Members, func(m *Member) bool { return m.Name == from }); i >= 0 {
		path = l.Etcd.Members[i].netns
	}
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	connection, err := dialIn(path)(ctx, "tcp", netip.AddrPortFrom(m.Address, 2379).String())
	if err == nil {
		connection.Close()
		return fmt.Errorf("lab: %s has a connection to %s", from, m.Name)
	}
	if errors.Is(err, unix.ECONNREFUSED) {
		return fmt.Errorf("lab: %s is refused a connection to %s, so frames pass", from, m.Name)
	}
	return nil
}

// Answers is nil when the member answers for itself, to the lab.
func (m *Member) Answers(ctx context.Context) error {
	_, err := m.status(ctx)
	return err
}
