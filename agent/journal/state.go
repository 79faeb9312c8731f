package journal

import (
	"net/netip"
	"time"

	"github.com/berth-ipam/berth/allocator"
)

// remember is how long a release is kept that no longer matters to an address: long enough that no ADD which began
// before it can still be on its way.
const remember = 10 * time.Minute

// state is what the records say together.
type state struct {
	header   Header
	cluster  Cluster
	live     map[allocator.Attachment]*Entry
	holder   map[address]*Entry // of live
	releases map[allocator.Attachment]Release
	freed    map[address]Freed // the last release of each address that is not held
	pending  map[address]Detachment
}

type address struct {
	pool string
	addr netip.Addr
}

func newState() *state {
	return &state{
		live:     map[allocator.Attachment]*Entry{},
		holder:   map[address]*Entry{},
		releases: map[allocator.Attachment]Release{},
		freed:    map[address]Freed{},
		pending:  map[address]Detachment{},
	}
}

func (s *state) apply(r *record) {
	switch {
	case r.Header != nil:
		s.header = *r.Header
	case r.Cluster != nil:
		s.cluster = *r.Cluster
	case r.Hold != nil:
		s.hold(r.Hold)
	case r.Release != nil:
		s.release(*r.Release)
	case r.Freed != nil:
		s.freed[address{r.Freed.Pool, r.Freed.Address}] = *r.Freed
	case r.Detach != nil:
		s.pending[r.Detach.key()] = *r.Detach
	case r.Detached != nil:
		if now, ok := s.pending[r.Detached.key()]; ok && now.Epoch <= r.Detached.Epoch {
			delete(s.pending, r.Detached.key())
		}
	}
}

func (s *state) hold(e *Entry) {
	s.live[e.Attachment] = e
	for _, a := range e.Addresses {
		at := address{e.Pool, a}
		s.holder[at] = e
		delete(s.freed, at)
	}
}

// release ends an attachment. A stateless address is remembered for its app, a stateful one waits for etcd to know.
func (s *state) release(r Release) {
	if last, ok := s.releases[r.Attachment]; !ok || last.Began < r.Began {
		s.releases[r.Attachment] = r
	}
	e, ok := s.live[r.Attachment]
	if !ok {
		return
	}
	delete(s.live, r.Attachment)
	for _, a := range e.Addresses {
		delete(s.holder, address{e.Pool, a})
	}
	if e.Class == allocator.Stateful {
		d := detachment(e)
		s.pending[d.key()] = d
		return
	}
	for _, a := range e.Addresses {
		s.freed[address{e.Pool, a}] = Freed{Pool: e.Pool, Address: a, App: e.App, At: r.At, Quarantine: r.Quarantine}
	}
}

// forget drops what has lost its meaning by now.
func (s *state) forget(now allocator.Instant) {
	for at, r := range s.releases {
		if now-r.At > remember {
			delete(s.releases, at)
		}
	}
}

// records are the shortest ones that make this state, in an order in which they may be applied.
func (s *state) records() []record {
	all := []record{{Header: &s.header}}
	if s.cluster != (Cluster{}) {
		all = append(all, record{Cluster: &s.cluster})
	}
	for _, r := range s.releases {
		all = append(all, record{Release: &r})
	}
	for _, e := range s.live {
		all = append(all, record{Hold: e})
	}
	for _, f := range s.freed {
		all = append(all, record{Freed: &f})
	}
	for _, d := range s.pending {
		all = append(all, record{Detach: &d})
	}
	return all
}

func detachment(e *Entry) Detachment {
	return Detachment{Attachment: e.Attachment, Identity: e.Identity(), Pool: e.Pool, Addresses: e.Addresses, Epoch: e.Epoch}
}

func (d Detachment) key() address { return address{d.Pool, d.Addresses[0]} }
