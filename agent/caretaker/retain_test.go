package caretaker

import (
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

func TestAReservationIsOverWhenNobodyHasHadItForLongerThanItIsRetained(t *testing.T) {
	now := time.Now()
	before := func(d time.Duration) *time.Time { at := now.Add(-d); return &at }
	for what, c := range map[string]struct {
		r      record.Reservation
		retain time.Duration
		over   bool
	}{
		"released for longer":             {record.Reservation{LastDel: before(2 * time.Hour)}, time.Hour, true},
		"released for less":               {record.Reservation{LastDel: before(time.Minute)}, time.Hour, false},
		"retained forever":                {record.Reservation{LastDel: before(2 * time.Hour)}, 0, false},
		"held again":                      {record.Reservation{LastDel: before(2 * time.Hour), Holder: &record.Holder{}}, time.Hour, false},
		"never had":                       {record.Reservation{}, time.Hour, false},
		"its owner has ended just now":    {record.Reservation{LastDel: before(2 * time.Hour), Ended: before(time.Minute)}, time.Hour, false},
		"its owner has ended long before": {record.Reservation{LastDel: before(time.Minute), Ended: before(2 * time.Hour)}, time.Hour, true},
	} {
		if over := isOver(c.r, allocator.Duration(c.retain), now); over != c.over {
			t.Errorf("%s: over is %v", what, over)
		}
	}
}
