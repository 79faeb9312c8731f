package lab

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-ipam/berth/internal/etcdtest"
	"github.com/berth-ipam/berth/lease/embedded"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/session"
)

// Own gives the lab an etcd of its own, and a way to end it and start it again.
func (l *Lab) Own() (restart func(while func())) {
	l.Helper()
	dir, err := os.MkdirTemp("", "own")
	l.Check(err)
	server, err := etcdtest.Start(dir)
	l.Check(err)
	l.Options.Endpoints = server.Endpoints()
	l.Cleanup(func() {
		server.Stop()
		os.RemoveAll(dir)
	})
	return func(while func()) {
		server.Stop()
		while()
		server, err = etcdtest.Start(dir)
		l.Check(err)
	}
}

// A Machine is an etcd that can be set back to what it was at an earlier time.
type Machine struct {
	*Lab
	dir    string
	server *embedded.Server
}

// NewMachine is one of a test, which runs beside others.
func NewMachine(t *testing.T) *Machine {
	t.Helper()
	t.Parallel()
	dir := t.TempDir()
	if len(dir) > 60 { // a unix socket's path is short
		short, err := os.MkdirTemp("", "m")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(short) })
		dir = short
	}
	m := &Machine{&Lab{T: t, Options: kv.Options{Endpoints: []string{"unix://" + filepath.Join(dir, "etcd.sock")}}}, dir, nil}
	m.start()
	t.Cleanup(func() { m.server.Stop() })
	return m
}

func (m *Machine) start() {
	m.Helper()
	var err error
	m.server, err = etcdtest.Start(m.dir)
	m.Check(err)
}

// Save keeps what etcd has now under a name.
func (m *Machine) Save(name string) {
	m.Helper()
	m.server.Stop()
	m.Check(os.CopyFS(filepath.Join(m.dir, name), os.DirFS(filepath.Join(m.dir, "data"))))
	m.start()
}

// Back sets etcd to what was saved under a name, with the same id, as a restore with the former token does; an empty name: to
// nothing.
func (m *Machine) Back(name string) {
	m.Helper()
	m.server.Stop()
	m.Check(os.RemoveAll(filepath.Join(m.dir, "data")))
	if name != "" {
		m.Check(os.CopyFS(filepath.Join(m.dir, "data"), os.DirFS(filepath.Join(m.dir, name))))
	}
	m.start()
}

// Handshake is a handshake that must succeed.
func (l *Lab) Handshake(s *Store, name string, past session.Past) session.ClusterState {
	l.Helper()
	standing, err := s.Sessions.Handshake(l.Context(), name, "machine of "+name, past)
	l.Check(err)
	return standing
}

// Grow lets etcd's revisions grow.
func (m *Machine) Grow(revisions int) {
	m.Helper()
	raw := m.Raw()
	for range revisions {
		_, err := raw.Put(m.Context(), "/elsewhere", "")
		m.Check(err)
	}
}

// HandshakeAgain meets the etcd that has been set back under a store that runs.
func (m *Machine) HandshakeAgain(s *Store) {
	m.Helper()
	m.Until("the store has noticed", func() bool { _, err := s.Config.Read(m.Context()); return errors.Is(err, kv.ErrStoreReset) })
	m.Until("it has met etcd", func() bool {
		_, err := s.Sessions.Handshake(m.Context(), "n1", "machine of n1", session.Past{})
		return err == nil
	})
}

// GoneBack is an etcd whose revisions are far beyond those of what was saved early, and a store that has seen them.
func GoneBack(t *testing.T) (*Machine, *Store) {
	t.Helper()
	m := NewMachine(t)
	s := m.Store()
	m.Handshake(s, "n1", session.Past{})
	m.Save("early")
	m.Grow(300)
	return m, s
}
