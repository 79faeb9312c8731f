package main

import (
	"path/filepath"
	"time"

	"github.com/berth-ipam/berth/internal/disk"
	"github.com/berth-ipam/berth/internal/wire"
)

// deleteTime and deleteAgain bound the two attempts to have an agent do a DEL. Together they stay below the ten
// seconds after which runtimes lose patience.
const (
	deleteTime  = 6 * time.Second
	deleteAgain = 2 * time.Second
)

// del succeeds whatever is absent (CNI specification 1.1.0, "DEL"). Where the agent is, it leaves a note for the next
// one. The socket is tried once more after that, since an agent that started meanwhile may have read the notes before.
func del(c *call) error {
	c.skipNetnsCheck()
	container := c.container()
	_, err := c.ask(wire.Delete, deleteTime, 0, container)
	if err == nil || answered(err) {
		return err
	}
	spool := filepath.Join(filepath.Dir(c.Socket), "spool")
	if unwritten := wire.WriteNote(spool, wire.Note{Started: int64(c.began), Container: container}); unwritten != nil {
		return wire.Errorf(wire.CodeIO, "leave a note for the agent that did not answer (%w): %w", err, unwritten)
	}
	_, err = c.ask(wire.Delete, deleteAgain, 0, container)
	switch {
	case err == nil:
		withdraw(spool, c.began, container.ID)
		return nil
	case answered(err):
		return err
	}
	return nil
}

// withdraw takes back the note of a DEL that has been done after all. One that stays would do no harm: it is older
// than every ADD to come.
func withdraw(spool string, began time.Duration, id string) {
	notes, _ := wire.ReadNotes(disk.Machine{}, spool)
	for _, n := range notes {
		if n.Err == nil && n.Note.Started == int64(began) && n.Note.Container.ID == id {
			_ = disk.Machine{}.Remove(n.Path)
		}
	}
}
