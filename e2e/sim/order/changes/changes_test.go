package changes

import (
	"os/exec"
	"strings"
	"testing"
)

// release is the one whose runtime the table was written for.
const release = "go1.26"

func TestTheTableFitsTheRuntimeThatItWasWrittenFor(t *testing.T) {
	output, err := exec.Command("go", "env", "GOROOT", "GOVERSION").Output()
	if err != nil {
		t.Fatal(err)
	}
	root, version, _ := strings.Cut(strings.TrimSpace(string(output)), "\n")
	if !strings.HasPrefix(version, release) {
		t.Skipf("the table is for %s, and this is %s: make sim says so, and does without", release, version)
	}
	set, err := Of(root)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := set.Files(); err != nil {
		t.Error(err)
	}
}
