package journal

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/disk"
)

// The journal of an agent of the first release, that had four containers and ended one of them.
func TestTheJournalOfTheFormerReleaseIsRead(t *testing.T) {
	text, err := os.ReadFile("testdata/former-journal")
	must(t, err)
	for line := range bytes.Lines(text) {
		_, written, _ := bytes.Cut(bytes.TrimSpace(line), []byte(" "))
		var r record
		strict := json.NewDecoder(bytes.NewReader(written))
		strict.DisallowUnknownFields()
		must(t, strict.Decode(&r))
		if again, err := json.Marshal(&r); err != nil || !bytes.Equal(again, written) {
			t.Errorf("a record was written as\n%s\nand is now\n%s\n%v", written, again, err)
		}
	}

	path := filepath.Join(t.TempDir(), "journal")
	must(t, os.WriteFile(path, text, 0o600))
	j, err := Open(disk.Machine{}, path, Header{Node: "n1", Boot: "b/net:[1]", ID: "another"}, func() allocator.Instant { return 0 })
	must(t, err)
	defer j.Close()
	if j.ID() != "116c6cf59a25684b" || j.Cluster().ID != "806c94cecc71a632" || j.Cluster().Generation != 3 {
		t.Errorf("it is journal %s of %+v", j.ID(), j.Cluster())
	}
	if j.Len() != 3 || j.Isolated() != 0 || len(j.Freed()) != 1 || len(j.Pending()) != 0 {
		t.Errorf("it has %d containers, %d isolated, freed %v, pending %v: want 3, 0, one, none", j.Len(), j.Isolated(), j.Freed(), j.Pending())
	}
	for _, e := range j.Entries() {
		if e.Answered == 0 || e.Wiring.Port == "" || e.Given == nil || e.Given.Unknown {
			t.Errorf("%s was answered and wired, and is read as %+v", e.Attachment, e)
		}
		if stateful := e.Class == allocator.Stateful; stateful && (e.Identity().Member != "db-0" || e.Epoch != 1) {
			t.Errorf("the member is read as %+v", e)
		}
	}
}
