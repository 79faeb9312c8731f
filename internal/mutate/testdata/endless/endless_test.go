package endless

import "testing"

func TestItCounts(t *testing.T) {
	if got := Count(2); got != 2 {
		t.Errorf("%d, want 2", got)
	}
}
