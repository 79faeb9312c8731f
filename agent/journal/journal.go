// Package journal records on a file what the agent has answered, so that it outlives the process. A write is in the
// kernel's page cache when it returns, so it survives kill -9 at any instant; it need not survive the machine,
// because containers do not either.
//
// The file has one line of a checksum and a JSON record for each change, in space that is allocated ahead: even on a full disk
// there is room for the release of every attachment, and some for other notes about held ones. Only a new attachment is
// refused where it cannot be written. Everything else is kept in memory if the write fails; the file is Behind then, until
// CatchUp has rewritten it.
package journal

import (
	"errors"
	"fmt"
	"net/netip"
	"os"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/disk"
)

// Open reads the journal at path on a disk. Where there is none, or one of another boot, whose containers are gone, it begins a new one
// with mine as its header. A journal of another node is an error.
func Open(d disk.Disk, path string, mine Header, now func() allocator.Instant) (j *Journal, err error) {
	j = &Journal{Table: Table{state: newState()}, disk: d, path: path, now: now}
	j.file, err = openFile(d, path, j.state.apply)
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
		j.file = nil
	}
	j.state = newState()
	j.state.header = mine
	if err := j.rewrite(); err != nil {
		return nil, err
	}
	return j, nil
}

// Close closes the file.
func (j *Journal) Close() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.close()
}

// ID is the random id of the header.
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

// Hold adds an entry, or replaces the attachment's former one. If the file does not accept it, it fails and changes nothing; the
// error is ErrNoRoom if the disk could not take the entry's release.
func (j *Journal) Hold(e *Entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.hold(e)
}

// Change is Hold for an attachment that is held, by the owner of its lock. The epoch and the isolation that others have noted
// meanwhile stay. Only a new ADD, with a later Began and a higher epoch than the one that has lost the address, ends an
// isolation.
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

// Keep notes an entry whose container exists already.
func (j *Journal) Keep(e *Entry) { j.note(&record{Hold: e}) }

// Release notes the end of an attachment. For one that was not held it is kept too, against an older ADD.
func (j *Journal) Release(r Release) { j.note(&record{Release: &r}) }

// Detached notes that a detachment is published.
func (j *Journal) Detached(d Detachment) { j.note(&record{Detached: &d}) }

// Adopt notes the epoch by which etcd attaches a reservation to a held attachment; its release has to name it.
func (j *Journal) Adopt(at allocator.Attachment, epoch int64) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.state.live[at]; e != nil && e.Epoch != epoch {
		j.noteLocked(&record{Epoch: &Epoch{at, epoch}})
	}
}

// Isolate notes that an attachment is isolated, for a reason that was found for the entry e. It changes nothing if the attachment
// has another entry now. It returns the present entry, and whether the reason was noted.
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

// Lift notes the end of an isolation.
func (j *Journal) Lift(at allocator.Attachment) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if e := j.state.live[at]; e != nil && e.Isolated != nil {
		j.noteLocked(&record{Isolate: &Isolate{Attachment: at}})
	}
}

// Forget drops freed addresses, such as those of returned blocks. One that was held and freed again since stays.
func (j *Journal) Forget(gone []Freed) {
	j.mu.Lock()
	defer j.mu.Unlock()
	var lost []Part
	for _, f := range gone {
		if now, there := j.state.freed.get(f.Pool, f.Address); there && now == f {
			lost = append(lost, Part{f.Pool, netip.PrefixFrom(f.Address, f.Address.BitLen())})
		}
	}
	if len(lost) > 0 {
		j.noteLocked(&record{Lost: lost})
	}
}

// ForgetWithin is Forget for what lies in a prefix.
func (j *Journal) ForgetWithin(pool string, in netip.Prefix) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if len(j.state.freed.within(pool, in)) > 0 {
		j.noteLocked(&record{Lost: []Part{{pool, in}}})
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
