package journal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/berth-ipam/berth/internal/disk"
)

// ErrNoRoom says that the disk has no room for one more attachment. Releases still have theirs.
var ErrNoRoom = errors.New("journal: no room on the disk for one more attachment")

const (
	chunk     = 256 << 10 // bytes by which the file's space grows
	rewriteAt = 1 << 20   // bytes below which the file is not worth a rewrite
)

// file is one journal file: written lines, then space that reads as zeros.
type file struct {
	f     disk.File
	used  int64 // bytes written
	size  int64 // bytes allocated
	fresh int64 // bytes that the file began with
}

// encode makes a line: eight hex digits of the CRC-32 of the JSON, a space, the JSON, a newline.
func encode(r *record) ([]byte, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("journal: encode: %w", err)
	}
	return fmt.Appendf(nil, "%08x %s\n", crc32.ChecksumIEEE(text), text), nil
}

// openFile passes every record to apply. What follows the last whole line is of a write that a crash has interrupted and that was
// never answered; it is overwritten. A broken line with whole ones behind it is an error.
func openFile(d disk.Disk, path string, apply func(*record)) (*file, error) {
	f, err := d.Open(path)
	if err != nil {
		return nil, err
	}
	data, err := d.Read(path)
	if err != nil {
		f.Close()
		return nil, err
	}
	used := 0
	for {
		line, _, whole := bytes.Cut(data[used:], []byte{'\n'})
		r, ok := decode(line)
		if !whole || !ok {
			break
		}
		apply(r)
		used += len(line) + 1
	}
	rest := bytes.TrimRight(data[used:], "\x00")
	if end := bytes.IndexByte(rest, '\n'); end >= 0 && end+1 < len(rest) {
		f.Close()
		return nil, fmt.Errorf("the line at byte %d is damaged and others follow it: move the file away and restart the agent, which "+
			"then asks the kernel what runs", used)
	}
	if _, err := f.WriteAt(make([]byte, len(rest)), int64(used)); err != nil {
		f.Close()
		return nil, err
	}
	return &file{f: f, used: int64(used), size: int64(len(data)), fresh: int64(used)}, nil
}

func decode(line []byte) (*record, bool) {
	sum, text, _ := bytes.Cut(line, []byte{' '})
	if string(sum) != fmt.Sprintf("%08x", crc32.ChecksumIEEE(text)) {
		return nil, false
	}
	r := new(record)
	return r, json.Unmarshal(text, r) == nil
}

// replaceFile writes lines and that much space behind them to a new file, and moves it to path.
func replaceFile(d disk.Disk, path string, lines []byte, room int64) (*file, error) {
	f, err := d.Create(path + ".new")
	if err != nil {
		return nil, err
	}
	next := &file{f: f, fresh: int64(len(lines))}
	err = next.reserve(int64(len(lines)) + room)
	if err == nil {
		err = next.append(lines)
	}
	if err == nil {
		err = d.Rename(path+".new", path)
	}
	if err != nil {
		f.Close()
		_ = d.Remove(path + ".new")
		return nil, err
	}
	return next, nil
}

// reserve allocates space for so many more bytes.
func (f *file) reserve(more int64) error {
	if f.used+more <= f.size {
		return nil
	}
	size := (f.used+more)/chunk*chunk + chunk
	err := f.f.Allocate(size)
	if err != nil { // the last bytes of a disk that is almost full
		size = f.used + more
		err = f.f.Allocate(size)
	}
	if err != nil {
		return fmt.Errorf("%w: allocate %d bytes: %w", ErrNoRoom, size, err)
	}
	f.size = size
	return nil
}

func (f *file) append(line []byte) error {
	if _, err := f.f.WriteAt(line, f.used); err != nil {
		return err
	}
	f.used += int64(len(line))
	return nil
}

func (f *file) close() error { return f.f.Close() }
