// Package journal is the agent's memory: what it has answered, on a file that outlives the process. A write is in the
// kernel's page cache when it returns, so it survives kill -9 at any instant; it need not survive the machine,
// because containers do not either.
//
// The file is lines of a checksum and a JSON record, in space that is allocated before it is needed: there is always
// room for the release of every attachment, even on a full disk, and some for what else has to be noted of those that are
// held. Only a new attachment is refused where it cannot be written. Everything else is noted: it holds in memory whatever
// becomes of the file, which is Behind then until CatchUp has written it anew.
package journal

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/berth-ipam/berth/allocator"
)

// ErrNoRoom says that the disk has no room for one more attachment; releases still find theirs.
var ErrNoRoom = errors.New("journal: no room on the disk for one more attachment")

// A Journal is the table of this node's attachments, kept on a file. It is safe for concurrent use. The entries that
// it gives out are not changed any more: a change is a new entry.
type Journal struct {
	path string

	mu     sync.RWMutex
	file   *file
	state  *state
	now    func() allocator.Instant
	behind error        // why the file lacks some of what state has; nil: it has all
	listed atomic.Int64 // how many entries were handed out with all
	big    int64        // bytes above which the file is to be rewritten, where the last try has failed
}

// Open reads the journal at path. Where there is none, or one of another boot (whose containers are gone), it begins
// a new one with mine as its header. A journal of another node is an error.
func Open(path string, mine Header, now func() allocator.Instant) (j *Journal, err error) {
	j = &Journal{path: path, state: newState(), now: now}
	j.file, err = openFile(path, j.state.apply)
	switch {
	case errors.Is(err, os.ErrNotExist):
	case err != nil:
		return nil, fmt.Errorf("journal: read %s: %w", path, err)
	case j.state.header.Node != "" && j.state.header.Node != mine.Node:
		j.file.close()
		return nil, fmt.Errorf("journal: %s belongs to node %q, this is node %q: start the agent with --node %s, or with another --run-dir",
			path, j.state.header.Node, mine.Node, j.state.header.Node)
	case j.state.header.Boot == mine.Boot && j.state.header.ID != "":
		return j, nil
	default:
		j.file.close()
	}
	j.state = newState()
	j.state.header = mine
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := j.rewrite(); err != nil {
		return nil, err
	}
	return j, nil
}

// Close lets go of the file.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.close()
}

// ID is the random one of the header.
func (j *Journal) ID() string {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.header.ID
}

// Cluster is the cluster that the node joined last; the zero one: none.
func (j *Journal) Cluster() Cluster {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.cluster
}

// SetCluster notes the cluster that the node has joined.
func (j *Journal) SetCluster(c Cluster) { j.note(&record{Cluster: &c}) }

// Get is the entry of an attachment, or nil.
func (j *Journal) Get(a allocator.Attachment) *Entry {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.live[a]
}

// Holder is the entry that has the address, or nil.
func (j *Journal) Holder(pool string, a netip.Addr) *Entry {
	j.mu.RLock()
	defer j.mu.RUnlock()
	e, _ := j.state.holder.get(pool, a)
	return e
}

// Within are the entries that have an address in a prefix, each once and in no order.
func (j *Journal) Within(pool string, in netip.Prefix) (all []*Entry) {
	j.mu.RLock()
	defer j.mu.RUnlock()
	all = j.state.holder.within(pool, in)
	if len(all) < 2 {
		return all
	}
	seen := make(map[*Entry]struct{}, len(all))
	return slices.DeleteFunc(all, func(e *Entry) bool {
		_, twice := seen[e]
		seen[e] = struct{}{}
		return twice
	})
}

// OfPort is the entry that a port belongs to, or nil.
func (j *Journal) OfPort(name string) *Entry {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.ports[name]
}

// InNamespace are the entries whose container's namespace has an id of the kernel's, in no order.
func (j *Journal) InNamespace(id int) []*Entry {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return slices.Collect(maps.Keys(j.state.spaces[id+1]))
}

// Len is how many entries there are.
func (j *Journal) Len() int {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return len(j.state.live)
}

// Entries are all, in no order.
func (j *Journal) Entries() []*Entry {
	j.mu.RLock()
	defer j.mu.RUnlock()
	all := make([]*Entry, 0, len(j.state.live))
	for _, e := range j.state.live {
		all = append(all, e)
	}
	j.listed.Add(int64(len(all)))
	return all
}

// Looked is at how much of its tables the journal has looked until now, for whoever asked. It is for tests: what concerns one block
// or one container is to cost the same however many others there are.
func (j *Journal) Looked() int64 {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.listed.Load() + j.state.holder.looked.Load() + j.state.freed.looked.Load()
}

// Overtaken reports whether an ADD of the attachment that began then may have been overtaken by a release that began
// later. Those of long ago are not told apart: an ADD that is older than one of them counts as overtaken, whosever it was.
func (j *Journal) Overtaken(a allocator.Attachment, began allocator.Instant) bool {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.overtaken(a, began)
}

// Freed are the stateless addresses that were released and are not held, as far as wanted picks them, the longest free
// first. The journal waits for wanted.
func (j *Journal) Freed(wanted func(Freed) bool) []Freed {
	j.mu.RLock()
	defer j.mu.RUnlock()
	var all []Freed
	for f := range j.state.freed.all() {
		if wanted(f) {
			all = append(all, f)
		}
	}
	return byAge(all)
}

// FreedWithin is Freed for what lies in a prefix.
func (j *Journal) FreedWithin(pool string, in netip.Prefix) []Freed {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return byAge(j.state.freed.within(pool, in))
}

func byAge(all []Freed) []Freed {
	slices.SortFunc(all, func(a, b Freed) int { return cmp.Or(cmp.Compare(a.At, b.At), a.Address.Compare(b.Address)) })
	return all
}

// Pending are the reservations that this node has let go of and that etcd does not know of yet.
func (j *Journal) Pending() []Detachment {
	j.mu.RLock()
	defer j.mu.RUnlock()
	all := make([]Detachment, 0, len(j.state.pending))
	for _, d := range j.state.pending {
		all = append(all, d)
	}
	return all
}

// Hold puts an entry into the table, new or in place of the attachment's former one. It fails, and changes nothing, where
// the file does not take it: with ErrNoRoom where the disk could not take its release any more.
func (j *Journal) Hold(e *Entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.hold(e)
}

// Change is Hold by whoever has the attachment's lock, for an entry that is held: what others have noted of it meanwhile
// stays, which are its epoch and its isolation. Only a new life of the attachment, with a later Began and a higher epoch than
// the one by which its address was lost, ends an isolation.
func (j *Journal) Change(e *Entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	next := *e
	if now := j.state.live[e.Attachment]; now != nil {
		sameLife := now.Began == e.Began
		if sameLife || now.Epoch > e.Epoch {
			next.Epoch = now.Epoch
		}
		next.Isolated = now.Isolated
		if !sameLife && now.Isolated != nil && now.Isolated.Epoch < next.Epoch {
			next.Isolated = nil
		}
	}
	return j.hold(&next)
}

// Keep notes an entry whose container is there already.
func (j *Journal) Keep(e *Entry) { j.note(&record{Hold: e}) }

// Release notes the end of an attachment. One that was never held is remembered all the same, against an ADD from before.
func (j *Journal) Release(r Release) { j.note(&record{Release: &r}) }

// Detached notes that etcd knows of a detachment.
func (j *Journal) Detached(d Detachment) { j.note(&record{Detached: &d}) }

// Adopt notes the epoch by which etcd attaches a reservation to an attachment that is held: its release has to name it.
func (j *Journal) Adopt(at allocator.Attachment, epoch int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.state.live[at]; e != nil && e.Epoch != epoch {
		j.noteLocked(&record{Epoch: &Epoch{at, epoch}})
	}
}

// Isolate notes that an attachment is isolated, if why says so of the entry that it has at this instant. It returns that
// entry, nil where it is not to be isolated, and whether it was not isolated before. why must not ask the journal.
func (j *Journal) Isolate(at allocator.Attachment, why func(*Entry) *Isolation) (e *Entry, first bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	now := j.state.live[at]
	if now == nil {
		return nil, false
	}
	i := why(now)
	if i == nil {
		return nil, false
	}
	if now.Isolated == nil || now.Isolated.Epoch < i.Epoch {
		j.noteLocked(&record{Isolate: &Isolate{Attachment: at, Isolation: i.bounded()}})
	}
	return j.state.live[at], now.Isolated == nil
}

// Lift notes that an attachment is isolated no more.
func (j *Journal) Lift(at allocator.Attachment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.state.live[at]; e != nil && e.Isolated != nil {
		j.noteLocked(&record{Isolate: &Isolate{Attachment: at}})
	}
}

// Isolation is why an attachment is isolated; nil: it is not.
func (j *Journal) Isolation(at allocator.Attachment) *Isolation {
	if e := j.Get(at); e != nil {
		return e.Isolated
	}
	return nil
}

// Isolated is how many attachments are.
func (j *Journal) Isolated() int {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.state.isolated
}

// Forget drops the memory of the freed addresses that gone picks, such as those of blocks that this node has given back.
func (j *Journal) Forget(gone func(Freed) bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for f := range j.state.freed.all() {
		if gone(f) {
			j.state.freed.remove(f.Pool, f.Address)
		}
	}
}

// ForgetWithin is Forget for what lies in a prefix.
func (j *Journal) ForgetWithin(pool string, in netip.Prefix) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, f := range j.state.freed.within(pool, in) {
		j.state.freed.remove(f.Pool, f.Address)
	}
}

// Bytes is how much of the file is written.
func (j *Journal) Bytes() int64 {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.file.used
}

// Path is where the file is.
func (j *Journal) Path() string { return j.path }
