package kv

import (
	"context"
	"strings"
	"time"

	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/internal/random"
	"github.com/berth-ipam/berth/internal/task"
)

// Options say how etcd is reached.
type Options struct {
	Endpoints         []string
	Prefix            string              // of all keys; empty: DefaultPrefix
	CACert, Cert, Key string              // files, which are read anew for each connection, so they can be renewed
	User              string              // with PasswordFile: etcd's own authentication
	PasswordFile      string              // read anew where etcd does not let the user in any more
	Observe           Observer            // nil: not called
	Access            Access              // nil: not called
	Unreadable        func(*DamagedError) // called with each record that Readable skips; nil: not called
	Clock             clock.Clock         // what is nil: the machine's
	Random            *random.Source      // nil: one of its own
	Network           Network             // nil: by the endpoints
}

// An Observer is called after each transaction: what it was for, how long it took, whether a compare failed, and the error.
type Observer func(operation string, took time.Duration, conflict bool, err error)

// Access is called when etcd begins to refuse something, and with a nil error when it does no more. What is what was tried, in
// the same words each time. See Refused.
type Access func(what string, err error)

// A Client is the way to etcd. It is safe for concurrent use.
type Client struct {
	Keys        Keys
	Clock       clock.Clock
	Random      *random.Source
	observe     Observer
	Unreadable  func(*DamagedError)
	Incarnation Incarnation
	Reset       []func() // called when another incarnation begins: see OnReset

	login     *login
	access    access
	diagnosis diagnosis
}

// Open does not wait for etcd: every call finds out for itself whether etcd answers.
func Open(o Options) (*Client, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	c := &Client{
		Keys: NewKeys(o.Prefix), Clock: o.Clock.OrMachine(), Random: o.Random.OrNew(), observe: o.Observe, Unreadable: o.Unreadable,
		Incarnation: Incarnation{changing: task.NewLock()}, login: newLogin(o), access: access{notify: o.Access},
	}
	if c.Unreadable == nil {
		c.Unreadable = func(*DamagedError) {}
	}
	if c.observe == nil {
		c.observe = func(string, time.Duration, bool, error) {}
	}
	return c, nil
}

// OnReset registers f, which is called when the incarnation of the store has ended, and what was learned in it is void. It is to
// be called before the client is used.
func (c *Client) OnReset(f func()) { c.Reset = append(c.Reset, f) }

// Etcd is the client. Who asks for it is about to call etcd.
func (c *Client) Etcd(ctx context.Context) (Etcd, error) {
	lockorder.Calls(lockorder.Etcd)
	client, err := c.login.in(ctx)
	c.access.note(TheUser, err)
	if err != nil && ambiguous(err) {
		c.diagnosis.begin(c.login.network)
	}
	return client, err
}

// endpoints are etcd's, in words.
func (c *Client) endpoints() string { return strings.Join(c.login.options.Endpoints, ", ") }

// noteOutcome records how a call ended: whether etcd let this process in and let it do what it asked for.
func (c *Client) noteOutcome(client Etcd, what string, err error) {
	c.access.note(what, err)
	switch {
	case err == nil:
	case unauthenticated(err):
		c.login.out(client)
	case ambiguous(err):
		c.diagnosis.begin(c.login.network)
	}
}

// Close closes the connections. It ends no session.
func (c *Client) Close() error { return c.login.close() }
