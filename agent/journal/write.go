package journal

import (
	"fmt"
	"path/filepath"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/disk"
)

// A Journal is the table of this node's attachments, kept on a file. It is safe for concurrent use.
type Journal struct {
	Table
	disk   disk.Disk
	path   string
	file   *file // under the table's lock, as the fields below
	now    func() allocator.Instant
	behind error // why the file lacks some of state; nil: it has all
	big    int64 // bytes above which a rewrite is tried again, after one that has failed
}

// Behind is why the file lacks some of what was noted; nil: it has all. Nothing new is held meanwhile.
func (j *Journal) Behind() error {
	j.mu.RLock()
	defer j.mu.RUnlock()
	return j.behind
}

// one is room enough for any new attachment, in bytes: names have at most 253 each.
const one = 8 << 10

// Room is why the file does not accept one more attachment; nil: it does.
func (j *Journal) Room() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.behind != nil {
		return j.behind
	}
	return j.file.reserve(one + headroom + j.state.ending + j.state.noting)
}

// CatchUp rewrites the file where it is behind or not at the journal's path any more. It returns what was wrong, nil if nothing
// was, and why it could not be repaired.
func (j *Journal) CatchUp() (wrong, err error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.catchUp()
}

func (j *Journal) catchUp() (wrong, err error) {
	if wrong = j.behind; wrong == nil {
		wrong = j.vanished()
	}
	if wrong == nil {
		return nil, nil
	}
	if err := j.rewrite(); err != nil {
		j.behind = wrong
		return wrong, err
	}
	j.behind = nil
	return wrong, nil
}

// vanished is why this file is not at its path any more; nil: it is, or the system cannot say.
func (j *Journal) vanished() error {
	ours, unknown := j.file.f.Stat()
	there, unseen := j.disk.Stat(j.path)
	switch {
	case disk.Gone(unseen):
		return fmt.Errorf("journal: somebody has removed %s", j.path)
	case unknown == nil && unseen == nil && there.ID != ours.ID:
		return fmt.Errorf("journal: somebody has put another file in the place of %s", j.path)
	}
	return nil
}

// hold writes an entry that must be on the file before it is used.
func (j *Journal) hold(e *Entry) error {
	if wrong, err := j.vanished(), j.behind; wrong != nil && err == nil {
		if _, err := j.catchUp(); err != nil {
			return err
		}
	}
	if j.behind != nil {
		return fmt.Errorf("journal: nothing new is held before all that is held is written: %w", j.behind)
	}
	r := &record{Hold: e}
	if err := j.write(r, grows); err != nil {
		return err
	}
	j.state.apply(r)
	j.shrink()
	return nil
}

// note applies a record even if the file does not accept it.
func (j *Journal) note(r *record) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.noteLocked(r)
}

// noteLocked writes a record if it can. While the file is behind it writes only ends: other records could rely on what it lacks.
func (j *Journal) noteLocked(r *record) {
	k := j.state.kindOf(r)
	if j.behind == nil || k == ends {
		if err := j.write(r, k); err != nil {
			j.behind = err
		}
	}
	j.state.apply(r)
	j.shrink()
}

// write appends one record to the file, within the room of its kind.
func (j *Journal) write(r *record, k kind) error {
	line, err := encode(r)
	if err != nil {
		return err
	}
	room := int64(len(line))
	switch k {
	case grows:
		room += headroom + j.state.ending + j.state.noting
		if r.Hold != nil {
			room += needOf(r.Hold).all()
		}
	case notes:
		room += j.state.ending
	}
	if err := j.file.reserve(room); err != nil {
		return err
	}
	if err := j.file.append(line); err != nil {
		return fmt.Errorf("journal: write %s: %w", j.path, err)
	}
	return nil
}

// shrink rewrites the file when most of it is history. If no new file can be written, the old one, which is complete, stays.
func (j *Journal) shrink() {
	if j.behind != nil || j.file.used <= max(rewriteAt, 4*j.file.fresh, j.big) {
		return
	}
	if j.rewrite() != nil {
		j.big = j.file.used + rewriteAt
	}
}

// rewrite replaces the file by one of the present state only.
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
	if err := j.disk.MakeDir(filepath.Dir(j.path), 0o755); err != nil {
		return fmt.Errorf("journal: %w", err)
	}
	next, err := replaceFile(j.disk, j.path, lines, headroom+j.state.ending+j.state.noting)
	if err != nil {
		return fmt.Errorf("journal: begin %s: %w", j.path, err)
	}
	if j.file != nil {
		j.file.close()
	}
	j.file, j.big = next, 0
	return nil
}
