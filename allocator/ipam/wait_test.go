package ipam_test

import (
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator/ipam"
)

func TestTheWaitForARightIsLongerThanTheRight(t *testing.T) {
	for _, right := range []time.Duration{15 * time.Second, time.Hour} {
		if wait := ipam.WaitOut(right); wait < right+right/10 {
			t.Errorf("for %s it waits %s: want a tenth more", right, wait)
		}
	}
}
