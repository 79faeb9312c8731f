package disk

import (
	"os"
	"path/filepath"
	"testing"
)

func TestOnlyAFileThatIsMissingIsGone(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	f, err := Machine{}.Create(path)
	must(t, err)
	defer f.Close()
	for missing, want := range map[string]bool{
		path: false, filepath.Join(dir, "none"): true, filepath.Join(path, "below"): true, string(make([]byte, 5000)): false,
	} {
		if _, err := (Machine{}).Stat(missing); Gone(err) != want {
			t.Errorf("%.80q is gone: %t, by %v", missing, !want, err)
		}
	}
}

func TestAFileInAnothersPlaceHasAnotherID(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	f, err := Machine{}.Create(path)
	must(t, err)
	defer f.Close()
	same := func() bool {
		ours, err := f.Stat()
		must(t, err)
		there, err := Machine{}.Stat(path)
		must(t, err)
		return ours.ID == there.ID
	}
	if !same() {
		t.Error("a file is not the one at its path")
	}
	must(t, os.WriteFile(path+".other", nil, 0o600))
	must(t, Machine{}.Rename(path+".other", path))
	if same() {
		t.Error("another file has its ID")
	}
}

func TestWhatIsAllocatedAndNotWrittenReadsAsZeros(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	f, err := Machine{}.Create(path)
	must(t, err)
	defer f.Close()
	must(t, f.Allocate(5))
	_, err = f.WriteAt([]byte("ab"), 1)
	must(t, err)
	if data, err := (Machine{}).Read(path); err != nil || string(data) != "\x00ab\x00\x00" {
		t.Errorf("it reads %q, with error %v", data, err)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
