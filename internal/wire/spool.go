package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// A Note is a DEL that reached no agent. The agent does it when it starts.
type Note struct {
	Started   int64     `json:"started"` // when the plugin began, CLOCK_BOOTTIME in nanoseconds
	Container Container `json:"container"`
}

// A NoteFile is a note in the spool; Err says why it could not be read.
type NoteFile struct {
	Path string
	Note Note
	Err  error
}

// A Spool is the disk that notes lie on. Its errors are as package os's.
type Spool interface {
	List(dir string) (names []string, err error) // sorted
	Read(path string) ([]byte, error)
	Remove(path string) error
}

const (
	noteSuffix       = ".del"
	unfinishedSuffix = ".new" // being written
)

// WriteNote puts a note into the spool so that it is complete when WriteNote returns. It makes a missing directory.
func WriteNote(dir string, n Note) (err error) {
	text, err := json.Marshal(n)
	if err != nil {
		return fmt.Errorf("wire: encode a note: %w", err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("wire: spool: %w", err)
	}
	f, err := os.CreateTemp(dir, fmt.Sprintf("%020d-*%s", n.Started, unfinishedSuffix))
	if err != nil {
		return fmt.Errorf("wire: spool: %w", err)
	}
	defer func() {
		if err != nil {
			os.Remove(f.Name())
		}
	}()
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("wire: spool: %w", err)
	}
	if err = os.Rename(f.Name(), strings.TrimSuffix(f.Name(), unfinishedSuffix)+noteSuffix); err != nil {
		return fmt.Errorf("wire: spool: %w", err)
	}
	return nil
}

// ReadNotes reads the notes in a directory, the oldest first. A missing directory is empty.
func ReadNotes(spool Spool, dir string) ([]NoteFile, error) {
	names, err := namesIn(spool, dir) // sorted by name, and so by time
	if err != nil {
		return nil, err
	}
	var notes []NoteFile
	for _, name := range names {
		if !strings.HasSuffix(name, noteSuffix) {
			continue // still being written, or not a note
		}
		n := NoteFile{Path: filepath.Join(dir, name)}
		text, err := spool.Read(n.Path)
		if err == nil {
			err = json.Unmarshal(text, &n.Note)
		}
		n.Err = err
		notes = append(notes, n)
	}
	return notes, nil
}

func namesIn(spool Spool, dir string) ([]string, error) {
	names, err := spool.List(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("wire: spool: %w", err)
	}
	return names, nil
}

// RemoveUnfinished removes the unfinished notes of plugins that were killed and that started before a time on CLOCK_BOOTTIME. A
// missing directory is empty.
func RemoveUnfinished(spool Spool, dir string, before int64) error {
	names, err := namesIn(spool, dir)
	if err != nil {
		return err
	}
	for _, name := range names {
		var started int64
		if _, err := fmt.Sscanf(name, "%d-", &started); err != nil || started >= before || !strings.HasSuffix(name, unfinishedSuffix) {
			continue
		}
		if err := spool.Remove(filepath.Join(dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return fmt.Errorf("wire: spool: %w", err)
		}
	}
	return nil
}
