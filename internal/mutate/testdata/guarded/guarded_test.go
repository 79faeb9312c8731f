package guarded

import "testing"

func TestAGuardThatIsTried(t *testing.T) {
	for n, want := range map[int]int{3: 3, 11: 10} {
		if got := Tried(n); got != want {
			t.Errorf("%d, want %d", got, want)
		}
	}
}

func TestAGuardThatIsTriedInPart(t *testing.T) {
	if got := Half(3); got != 3 {
		t.Errorf("%d, want 3", got)
	}
}
