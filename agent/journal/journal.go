// Package journal is the agent's memory: what it has answered, on a file that outlives the process. A write is in the
// kernel's page cache when it returns, so it survives kill -9 at any instant; it need not survive the machine,
// because containers do not either.
//
// The file is lines of a checksum and a JSON record, in space that is allocated before it is needed: there is always
// room for the release of every attachment, even on a full disk.
package journal

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"github.com/berth-ipam/berth/allocator"
)

// ErrNoRoom says that the disk has no room for one more attachment; releases still find theirs.
var ErrNoRoom = errors.New("journal: no room on the disk for one more attachment")

// A Journal is the table of this node's attachments, kept on a file. It is safe for concurrent use. The entries that
// it gives out are not changed any more: a change is a new entry.
type Journal struct {
	path string

	mu    sync.RWMutex
	file  *file
	state *state
	now   func() allocator.Instant
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

// SetCluster records the cluster that the node has joined. Where the disk has no room for that, it is remembered only
// for as long as this process lives.
func (j *Journal) SetCluster(c Cluster) error { return j.writeOrRemember(&record{Cluster: &c}) }

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
	return j.state.holder[address{pool, a}]
}

// Entries are all, in no order.
func (j *Journal) Entries() []*Entry {
	j.mu.RLock()
	defer j.mu.RUnlock()
	all := make([]*Entry, 0, len(j.state.live))
	for _, e := range j.state.live {
		all = append(all, e)
	}
	return all
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
	for _, f := range j.state.freed {
		if wanted(f) {
			all = append(all, f)
		}
	}
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

// Hold puts an entry into the table, new or in place of the attachment's former one. It fails with ErrNoRoom where
// the disk could not take its release any more.
func (j *Journal) Hold(e *Entry) error { return j.write(&record{Hold: e}) }

// Release ends an attachment; one that was never held is remembered all the same, against an ADD from before, but
// only for as long as this process lives where the disk has no room.
func (j *Journal) Release(r Release) error {
	return j.writeOrRemember(&record{Release: &r})
}

// Detached records that etcd knows of a detachment.
func (j *Journal) Detached(d Detachment) error { return j.write(&record{Detached: &d}) }

// Forget drops the memory of the freed addresses that gone picks, such as those of blocks that this node has given back.
func (j *Journal) Forget(gone func(Freed) bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for at, f := range j.state.freed {
		if gone(f) {
			delete(j.state.freed, at)
		}
	}
}

// Bytes is how much of the file is written.
func (j *Journal) Bytes() int64 {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.file.used
}

// write appends one record and then applies it; the file is rewritten when most of it is history.
func (j *Journal) write(r *record) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	line, err := encode(r)
	if err != nil {
		return err
	}
	if j.grows(r) {
		if err := j.file.reserve(int64(len(line)) + j.rooms(int64(len(line)))); err != nil {
			return err
		}
	}
	if err := j.file.append(line); err != nil {
		return fmt.Errorf("journal: write %s: %w", j.path, err)
	}
	j.state.apply(r)
	if j.file.used > rewriteAt && j.file.used > 4*j.file.fresh {
		// The old file holds all there is: where no new one can be written, it serves on.
		_ = j.rewrite()
	}
	return nil
}

// writeOrRemember is write for what is remembered by this process alone where the disk has no room.
func (j *Journal) writeOrRemember(r *record) error {
	err := j.write(r)
	if errors.Is(err, ErrNoRoom) {
		j.mu.Lock()
		defer j.mu.Unlock()
		j.state.apply(r)
		return nil
	}
	return err
}

// grows tells the records that need new room from those whose room a Hold has set aside.
func (j *Journal) grows(r *record) bool {
	return r.Detached == nil && (r.Release == nil || j.state.live[r.Release.Attachment] == nil)
}

// rooms is how many bytes the releases of all attachments need, and their Detached records, with one more whose Hold has so many bytes.
func (j *Journal) rooms(more int64) int64 {
	const besides = 512 // of a release: keys, times, checksum
	return int64(len(j.state.live)+len(j.state.pending)+1)*(2*besides) + 2*more
}

// rewrite replaces the file by one that holds the present state alone.
func (j *Journal) rewrite() error {
	j.state.forget(j.now())
	var lines []byte
	for _, r := range j.state.records() {
		line, err := encode(&r)
		if err != nil {
			return err
		}
		lines = append(lines, line...)
	}
	next, err := replaceFile(j.path, lines, j.rooms(0))
	if err != nil {
		return fmt.Errorf("journal: begin %s: %w", j.path, err)
	}
	if j.file != nil {
		j.file.close()
	}
	j.file = next
	return nil
}
