package wire

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/internal/disk"
)

func TestNotesAreReadInTheOrderOfTheirTime(t *testing.T) {
	spool := filepath.Join(t.TempDir(), "run", "spool")
	times := []int64{5, 1, 40, 300, 40}
	for _, at := range times {
		check(t, WriteNote(spool, Note{Started: at, Container: Container{Network: "n", ID: "c", Interface: "eth0"}}))
	}
	notes, err := ReadNotes(disk.Machine{}, spool)
	check(t, err)
	var read []int64
	for _, n := range notes {
		check(t, n.Err)
		if n.Note.Container.ID != "c" {
			t.Errorf("the note is about %+v: want container c", n.Note.Container)
		}
		if info, err := os.Stat(n.Path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s has mode %v, error %v: want 0600", n.Path, info.Mode(), err)
		}
		read = append(read, n.Note.Started)
		check(t, os.Remove(n.Path))
	}
	slices.Sort(times)
	if !slices.Equal(read, times) {
		t.Errorf("the notes are of %v: want %v", read, times)
	}
	if left, err := os.ReadDir(spool); err != nil || len(left) > 0 {
		t.Errorf("left are %v, error %v: want nothing", left, err)
	}
}

func TestANoteThatCannotBeReadHidesNoOther(t *testing.T) {
	spool := t.TempDir()
	check(t, WriteNote(spool, Note{Started: 2}))
	check(t, os.WriteFile(filepath.Join(spool, "1"+noteSuffix), []byte("{"), 0o600))
	check(t, os.Mkdir(filepath.Join(spool, "3"+noteSuffix), 0o700))
	check(t, os.WriteFile(filepath.Join(spool, "0.new"), []byte("{"), 0o600)) // being written
	notes, err := ReadNotes(disk.Machine{}, spool)
	check(t, err)
	bad, good := 0, 0
	for _, n := range notes {
		if n.Err != nil {
			bad++
		} else if n.Note.Started == 2 {
			good++
		}
	}
	if bad != 2 || good != 1 || len(notes) != 3 {
		t.Errorf("notes %+v: want two that cannot be read and one that can", notes)
	}
}

func TestASpoolThatIsNotThereIsEmpty(t *testing.T) {
	if notes, err := ReadNotes(disk.Machine{}, filepath.Join(t.TempDir(), "none")); err != nil || len(notes) > 0 {
		t.Errorf("notes %v, error %v: want none", notes, err)
	}
}

func TestANoteThatCannotBeWrittenIsAnError(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	check(t, os.WriteFile(file, nil, 0o600))
	if err := WriteNote(file, Note{}); err == nil {
		t.Error("it was written into a file")
	}
}

func TestWhatAKilledPluginLeftOfANoteIsRemovedAndNothingElse(t *testing.T) {
	spool := t.TempDir()
	check(t, WriteNote(spool, Note{Started: 3}))
	for _, started := range []int64{5, 500} {
		f, err := os.CreateTemp(spool, fmt.Sprintf("%020d-*%s", started, unfinishedSuffix))
		check(t, err)
		check(t, f.Close())
	}
	check(t, RemoveUnfinished(disk.Machine{}, spool, 100))
	left, err := os.ReadDir(spool)
	check(t, err)
	if len(left) != 2 || !strings.HasSuffix(left[0].Name(), noteSuffix) || !strings.Contains(left[1].Name(), "500-") {
		t.Errorf("left are %v: want the note, and the young file that is not whole", left)
	}
	check(t, RemoveUnfinished(disk.Machine{}, filepath.Join(spool, "none"), 100))
}
