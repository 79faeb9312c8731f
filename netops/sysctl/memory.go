package sysctl

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// A Memory knows which settings of the host were changed, and what they were before, so that they can be put back. It is kept in a file
// that ends with the boot, as the settings do. One that is nil remembers nothing.
type Memory struct {
	Read  func() ([]byte, error) // the file; one that is not there is fs.ErrNotExist
	Write func([]byte) error     // as a whole or not at all

	mu sync.Mutex
}

// A Changed is a setting of the host, what it was, and what it was made.
type Changed struct {
	Path   string `json:"path"`
	Before string `json:"before"`
	Made   string `json:"made"`
	// With is the path of another setting that changed it; empty: none did.
	With string `json:"with,omitempty"`
}

// root is where all settings of the network are.
const root = "/proc/sys/net/"

// Set makes a setting what it should be, as the function of that name does, and remembers first what it was. A setting that cannot be
// remembered is not changed.
func (m *Memory) Set(value string, parts ...string) error {
	return m.set(value, filepath.Join(parts...))
}

// set makes a setting value. With it the kernel changes others, as along says: also when it is put back, whatever they are then.
func (m *Memory) set(value, path string, along ...Changed) error {
	is, err := Read(path)
	if err != nil || is == value {
		return err
	}
	if err := m.note(append([]Changed{{Path: path, Before: is, Made: value}}, along...)); err != nil {
		return fmt.Errorf("set %s to %s: what it was (%s) cannot be kept: %w", path, value, is, err)
	}
	return Set(value, path)
}

// note keeps changes. Of a setting that was changed before what counts is what it is now: somebody has changed it since.
func (m *Memory) note(changes []Changed) error {
	if m == nil {
		return nil
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	all, err := Remembered(m.Read())
	if err != nil {
		return err
	}
	for _, c := range changes {
		all = slices.DeleteFunc(all, func(former Changed) bool { return former.Path == c.Path })
	}
	text, err := json.MarshalIndent(append(all, changes...), "", "  ")
	if err != nil {
		return err
	}
	return m.Write(append(text, '\n'))
}

// Remembered parses what was read of a memory's file. One that is not there tells of no change.
func Remembered(text []byte, err error) (all []Changed, _ error) {
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(text, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("read which settings of the host were changed (the file settings in berthd's run directory): %w: repair it, or "+
			"take it away: then berthctl node cleanup puts none of them back", err)
	}
	return all, nil
}

// Standing are the changes that still stand: somebody has changed the other settings since, or their links have ended. Only the path of a
// setting of the network is one.
func Standing(all []Changed) (stand []Changed) {
	stands := map[string]bool{}
	for _, c := range all {
		if filepath.Clean(c.Path) != c.Path || !strings.HasPrefix(c.Path, root) {
			continue
		}
		if is, err := Read(c.Path); err == nil && is == c.Made && (c.With == "" && is != c.Before || stands[c.With]) {
			stands[c.Path], stand = true, append(stand, c)
		}
	}
	return stand
}

// PutBack makes a setting what it was. One whose link has ended is none.
func (c Changed) PutBack() error {
	err := Set(c.Before, c.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
