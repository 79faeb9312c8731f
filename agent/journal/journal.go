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
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/berth-ipam/berth/allocator"
)

// ErrNoRoom says that the disk has no room for one more attachment; releases still find theirs.
var ErrNoRoom = errors.New("journal: no room on the disk for one more attachment")

// A Journal is the table of this node's attachments, kept on a file. It is safe for concurrent use.
type Journal struct {
	Table
	path   string
	file   *file // under the table's lock, as what follows
	now    func() allocator.Instant
	behind error // why the file lacks some of what state has; nil: it has all
	big    int64 // bytes above which the file is to be rewritten, where the last try has failed
}

// Open reads the journal at path. Where there is none, or one of another boot (whose containers are gone), it begins
// a new one with mine as its header. A journal of another node is an error.
func Open(path string, mine Header, now func() allocator.Instant) (j *Journal, err error) {
	j = &Journal{Table: Table{state: newState()}, path: path, now: now}
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

// Isolate notes that an attachment is isolated for a reason that was found for an entry of it. It changes nothing where the
// attachment has another entry by now. It returns the present entry, and whether it has noted the reason.
func (j *Journal) Isolate(e *Entry, why Isolation) (now *Entry, noted bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if now = j.state.live[e.Attachment]; now != e {
		return now, false
	}
	if now.Isolated == nil || now.Isolated.Epoch < why.Epoch {
		j.noteLocked(&record{Isolate: &Isolate{Attachment: e.Attachment, Isolation: why.bounded()}})
	}
	return j.state.live[e.Attachment], true
}

// Lift notes that an attachment is isolated no more.
func (j *Journal) Lift(at allocator.Attachment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.state.live[at]; e != nil && e.Isolated != nil {
		j.noteLocked(&record{Isolate: &Isolate{Attachment: at}})
	}
}

// Forget drops the memory of freed addresses, such as those of blocks that this node has given back. One that has been held and
// freed again since stays.
func (j *Journal) Forget(gone []Freed) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, f := range gone {
		if now, there := j.state.freed.get(f.Pool, f.Address); there && now == f {
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
