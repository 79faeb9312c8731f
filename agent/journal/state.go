package journal

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
)

// remember is how long a release that matters to no address is kept: no ADD that began before it is still under way then.
const remember = 10 * time.Minute

// maxReleases bounds how many such releases are kept, however fast containers come and go. At 200 a second, the half that
// stays when there are too many is of the last 20 s: no ADD takes that long before it asks.
const maxReleases = 8192

// state is the result of all records.
type state struct {
	header      Header
	cluster     Cluster
	live        map[allocator.Attachment]*Entry
	holder      byAddress[*Entry]                // of live
	ports       map[string]*Entry                // of live, by the port's name
	spaces      map[int]map[*Entry]struct{}      // of live, by the namespace's id
	releases    map[allocator.Attachment]Release // the last of each, as long as it can overtake an ADD
	before      allocator.Instant                // releases that began earlier may be forgotten
	freed       byAddress[Freed]                 // the last release of each address that is not held
	pending     map[ipam.Address]Detachment
	lostJournal bool
	quarantined []Quarantined

	isolated       int   // of live
	ending, noting int64 // what live and pending need, see need
}

func newState() *state {
	return &state{
		live:     map[allocator.Attachment]*Entry{},
		ports:    map[string]*Entry{},
		spaces:   map[int]map[*Entry]struct{}{},
		releases: map[allocator.Attachment]Release{},
		pending:  map[ipam.Address]Detachment{},
	}
}

func (s *state) apply(r *record) {
	switch {
	case r.Header != nil:
		s.header = *r.Header
	case r.Cluster != nil:
		s.cluster = *r.Cluster
	case r.Forgotten != 0:
		s.before = max(s.before, r.Forgotten)
	case r.LostJournal:
		s.lostJournal = true
	case r.Quarantined != nil:
		s.quarantined, s.lostJournal = *r.Quarantined, false
	case r.Hold != nil:
		s.hold(r.Hold)
	case r.Release != nil:
		s.release(*r.Release)
	case r.Epoch != nil:
		s.change(r.Epoch.Attachment, func(e *Entry) { e.Epoch = r.Epoch.Epoch })
	case r.Isolate != nil:
		s.change(r.Isolate.Attachment, func(e *Entry) { e.Isolated = r.Isolate.Isolation })
	case r.Freed != nil:
		s.freed.set(r.Freed.Pool, r.Freed.Address, *r.Freed)
	case r.Lost != nil:
		s.lose(r.Lost)
	case r.Detach != nil:
		s.await(*r.Detach)
	case r.Detached != nil:
		if now, ok := s.pending[r.Detached.key()]; ok && now.Epoch <= r.Detached.Epoch {
			s.known(r.Detached.key())
		}
	}
}

func (s *state) hold(e *Entry) {
	if former := s.live[e.Attachment]; former != nil {
		s.end(former)
	}
	n := needOf(e)
	s.ending, s.noting = s.ending+n.ending, s.noting+n.noting
	if e.Isolated != nil {
		s.isolated++
	}
	s.live[e.Attachment] = e
	for _, a := range e.Addresses {
		if held, is := s.holder.get(e.Pool, a); !is || !held.outlasts(e) {
			s.holder.set(e.Pool, a, e)
		}
		s.freed.remove(e.Pool, a)
	}
	if e.Wiring.Port != "" {
		s.ports[e.Wiring.Port] = e
	}
	if e.NamespaceID != 0 {
		if s.spaces[e.NamespaceID] == nil {
			s.spaces[e.NamespaceID] = map[*Entry]struct{}{}
		}
		s.spaces[e.NamespaceID][e] = struct{}{}
	}
}

// outlasts reports whether an entry stays the holder of an address that another one of this node has, too: that one is isolated, since
// it has lost the address, or is of an earlier epoch of the same reservation. So it is in whatever order they are read.
func (e *Entry) outlasts(other *Entry) bool {
	return e.Isolated == nil && (other.Isolated != nil || e.Epoch > other.Epoch)
}

// end removes an entry from all tables. An address that another entry has stays with that one.
func (s *state) end(e *Entry) {
	n := needOf(e)
	s.ending, s.noting = s.ending-n.ending, s.noting-n.noting
	if e.Isolated != nil {
		s.isolated--
	}
	delete(s.live, e.Attachment)
	for _, a := range e.Addresses {
		if now, _ := s.holder.get(e.Pool, a); now == e {
			s.holder.remove(e.Pool, a)
		}
	}
	if s.ports[e.Wiring.Port] == e {
		delete(s.ports, e.Wiring.Port)
	}
	if delete(s.spaces[e.NamespaceID], e); len(s.spaces[e.NamespaceID]) == 0 {
		delete(s.spaces, e.NamespaceID)
	}
}

// change replaces an attachment's entry, if there is one, by a copy that f has changed.
func (s *state) change(at allocator.Attachment, f func(*Entry)) {
	if now := s.live[at]; now != nil {
		next := *now
		f(&next)
		s.hold(&next)
	}
}

// await keeps a detachment until it is published.
func (s *state) await(d Detachment) {
	s.known(d.key())
	s.pending[d.key()] = d
	s.ending += d.needed()
}

func (s *state) known(at ipam.Address) {
	if d, ok := s.pending[at]; ok {
		s.ending -= d.needed()
		delete(s.pending, at)
	}
}

// lose drops what was freed of parts that are not this node's any more.
func (s *state) lose(parts []Part) {
	for _, p := range parts {
		for _, f := range s.freed.within(p.Pool, p.Prefix) {
			s.freed.remove(f.Pool, f.Address)
		}
	}
}

// release ends an attachment. A stateless address is kept as freed for its app, unless the attachment had lost it, and a stateful one
// as a pending detachment.
func (s *state) release(r Release) {
	if s.releases[r.Attachment].Began < r.Began {
		s.releases[r.Attachment] = r
		s.bound()
	}
	e, ok := s.live[r.Attachment]
	if !ok {
		return
	}
	s.end(e)
	if e.Class == allocator.Stateful {
		d := detachment(e)
		d.Unanswered, d.GiveUp = e.Answered == 0, r.GiveUp
		s.await(d)
		return
	}
	if e.Isolated != nil {
		return
	}
	for _, a := range e.Addresses {
		if _, held := s.holder.get(e.Pool, a); !held {
			s.freed.set(e.Pool, a, Freed{Pool: e.Pool, Address: a, App: e.App, At: r.At, Quarantine: r.Quarantine})
		}
	}
}

// forget drops what is out of date.
func (s *state) forget(now allocator.Instant) {
	for _, r := range s.releases {
		if now-r.At > remember {
			s.drop(r)
		}
	}
}

// bound drops the older half of the releases if there are too many.
func (s *state) bound() {
	if len(s.releases) <= maxReleases {
		return
	}
	byAge := slices.SortedFunc(maps.Values(s.releases), func(a, b Release) int { return cmp.Compare(a.At, b.At) })
	for _, r := range byAge[:len(byAge)/2] {
		s.drop(r)
	}
}

// drop forgets a release. From then on state.before refuses the ADDs that it has overtaken.
func (s *state) drop(r Release) {
	delete(s.releases, r.Attachment)
	s.before = max(s.before, r.Began)
}

// overtaken reports whether a release may have overtaken an ADD that began then.
func (s *state) overtaken(a allocator.Attachment, began allocator.Instant) bool {
	return began < max(s.before, s.releases[a].Began)
}

// records are a minimal list of records that make this state, in an order in which they can be applied.
func (s *state) records() []record {
	all := []record{{Header: &s.header}}
	if s.cluster != (Cluster{}) {
		all = append(all, record{Cluster: &s.cluster})
	}
	if s.before != 0 {
		all = append(all, record{Forgotten: s.before})
	}
	if len(s.quarantined) > 0 {
		all = append(all, record{Quarantined: &s.quarantined})
	}
	if s.lostJournal {
		all = append(all, record{LostJournal: true})
	}
	for _, r := range s.releases {
		all = append(all, record{Release: &r})
	}
	for _, e := range s.live {
		all = append(all, record{Hold: e})
	}
	for f := range s.freed.all() {
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

func (d Detachment) key() ipam.Address { return ipam.Address{Pool: d.Pool, Addr: d.Addresses[0]} }

// kindOf is which room a record may use.
func (s *state) kindOf(r *record) kind {
	switch {
	case r.Detached != nil, r.Release != nil && s.live[r.Release.Attachment] != nil:
		return ends
	case r.Epoch != nil, r.Isolate != nil, r.Cluster != nil, r.LostJournal, r.Lost != nil:
		return notes
	}
	return grows
}
