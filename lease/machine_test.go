package lease

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

// A machine is an etcd that can be set back to what it was at an earlier time.
type machine struct {
	*lab
	dir    string
	server *embedded.Server
}

func newMachine(t *testing.T) *machine {
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
	m := &machine{&lab{t, kv.Options{Endpoints: []string{"unix://" + filepath.Join(dir, "etcd.sock")}}}, dir, nil}
	m.start()
	t.Cleanup(func() { m.server.Stop() })
	return m
}

func (m *machine) start() {
	m.Helper()
	var err error
	m.server, err = etcdtest.Start(m.dir)
	m.check(err)
}

// save keeps what etcd has now under a name, and back sets it to that: with the same id, as a restore with the former
// token does.
func (m *machine) save(name string) {
	m.Helper()
	m.server.Stop()
	m.check(os.CopyFS(filepath.Join(m.dir, name), os.DirFS(filepath.Join(m.dir, "data"))))
	m.start()
}

func (m *machine) back(name string) {
	m.Helper()
	m.server.Stop()
	m.check(os.RemoveAll(filepath.Join(m.dir, "data")))
	if name != "" {
		m.check(os.CopyFS(filepath.Join(m.dir, "data"), os.DirFS(filepath.Join(m.dir, name))))
	}
	m.start()
}

func (l *lab) meet(s *Store, name string, past session.Past) session.ClusterState {
	l.Helper()
	standing, err := s.Sessions.Handshake(l.Context(), name, "machine of "+name, past)
	l.check(err)
	return standing
}

// past is what a node remembers of a session.
func past(at session.ClusterState, x *joined) session.Past {
	return session.Past{Cluster: at.Cluster, Life: at.Life, Generation: x.Generation()}
}

func (m *machine) grow(revisions int) {
	m.Helper()
	raw := m.raw()
	for range revisions {
		_, err := raw.Put(m.Context(), "/elsewhere", "")
		m.check(err)
	}
}

// meetAgain meets the etcd that has been set back under a store that runs.
func (m *machine) meetAgain(s *Store) {
	m.Helper()
	m.until("the store has noticed", func() bool { _, err := s.Config.Read(m.Context()); return errors.Is(err, kv.ErrStoreReset) })
	m.until("it has met etcd", func() bool {
		_, err := s.Sessions.Handshake(m.Context(), "n1", "machine of n1", session.Past{})
		return err == nil
	})
}

// goneBack is an etcd whose revisions are far beyond those of what was saved early, and a store that has seen them.
func goneBack(t *testing.T) (*machine, *Store) {
	t.Helper()
	m := newMachine(t)
	s := m.store()
	m.meet(s, "n1", session.Past{})
	m.save("early")
	m.grow(300)
	return m, s
}
