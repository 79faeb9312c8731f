// Package lease is what the cluster has agreed on: who owns which block, whose a reservation is and who holds it, the
// configuration, and who is alive. All of it is in etcd.
//
// Every transaction that gives something to a node compares the node's generation and session, and every transaction
// is safe to repeat. One whose answer was lost is settled by another that changes what it compares: no read can tell
// that it will not be carried out yet.
package lease

import (
	"strings"
	"sync/atomic"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Options say how etcd is reached.
type Options struct {
	Endpoints         []string
	Prefix            string               // of all keys; empty: DefaultPrefix
	CACert, Cert, Key string               // files, which are read anew for each connection, so they can be renewed
	User              string               // with PasswordFile: etcd's own authentication
	PasswordFile      string               // read anew where etcd does not let the user in any more
	Observe           Observer             // nil: nobody does
	Access            Access               // nil: nobody hears of it
	Unreadable        func(*DamagedError)  // hears of each record that a list passes over; nil: nobody does
	Now               func() time.Duration // the time since boot, CLOCK_BOOTTIME; nil: the machine's
}

// An Observer hears of each transaction: what it was for, how long it took, whether a compare failed, and the error.
type Observer func(operation string, took time.Duration, conflict bool, err error)

// Access hears when etcd begins to refuse something, and with a nil error when it does no more. What says what was tried:
// the same words each time. See Refused.
type Access func(what string, err error)

// A Store is the cluster's state. It is safe for concurrent use.
type Store struct {
	keys       Keys
	observe    Observer
	unreadable func(*DamagedError)
	now        func() time.Duration
	hints      hints
	deleted    deletions
	life       life
	hung       atomic.Pointer[time.Time] // when a member of etcd was last known to hang

	login     *login
	access    access
	diagnosis diagnosis
}

// Open does not wait for etcd: every call finds out for itself whether etcd answers.
func Open(o Options) (*Store, error) {
	if err := o.Check(); err != nil {
		return nil, err
	}
	s := &Store{
		keys: NewKeys(o.Prefix), observe: o.Observe, unreadable: o.Unreadable, now: o.Now, login: newLogin(o), access: access{tell: o.Access},
	}
	if s.unreadable == nil {
		s.unreadable = func(*DamagedError) {}
	}
	if s.observe == nil {
		s.observe = func(string, time.Duration, bool, error) {}
	}
	if s.now == nil {
		s.now = boottime
	}
	return s, nil
}

// etcd is the client.
func (s *Store) etcd() (*clientv3.Client, error) {
	client, err := s.login.in()
	s.access.note(TheUser, err)
	if err != nil && ambiguous(err) {
		s.diagnosis.begin(s.login.options)
	}
	return client, err
}

// endpoints are etcd's, in words.
func (s *Store) endpoints() string { return strings.Join(s.login.options.Endpoints, ", ") }

// heard takes in how something that was asked of etcd ended: whether it lets this process in, and do what it asks for.
func (s *Store) heard(client *clientv3.Client, what string, err error) {
	s.access.note(what, err)
	switch {
	case err == nil:
	case unauthenticated(err):
		s.login.out(client)
	case ambiguous(err):
		s.diagnosis.begin(s.login.options)
	}
}

// Close lets go of etcd. What etcd holds stays as it is: no session is ended.
func (s *Store) Close() error { return s.login.close() }
