package endless

import (
	"os"
	"path/filepath"
	"testing"
)

func TestItCounts(t *testing.T) {
	if err := os.WriteFile(filepath.Join(t.TempDir(), "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Count(2); got != 2 {
		t.Errorf("%d, want 2", got)
	}
}
