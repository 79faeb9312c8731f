package machine

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator/ipam"
)

func TestAnAddressIsLostOnlyWhenTheHostHasNotHadItForAWhile(t *testing.T) {
	var m Keeper
	kept := ipam.Address{Pool: "tiny", Addr: netip.MustParseAddr("10.7.0.5")}
	moved := ipam.Address{Pool: "tiny", Addr: netip.MustParseAddr("10.7.0.6")}
	own := []ipam.Address{kept, moved}
	start := time.Now()
	for _, step := range []struct {
		after time.Duration
		has   []ipam.Address
		lost  []ipam.Address
	}{
		{0, own, nil},
		{time.Hour, own, nil}, // a host that has it for long has not lost it
		{time.Hour + time.Second, []ipam.Address{kept}, nil},
		{time.Hour + machineGone/2, []ipam.Address{kept}, nil},
		{time.Hour + machineGone, own, nil}, // it has come back, and the time begins anew
		{time.Hour + 2*machineGone, []ipam.Address{kept}, nil},
		{time.Hour + 3*machineGone, []ipam.Address{kept}, []ipam.Address{moved}},
		{time.Hour + 4*machineGone, []ipam.Address{kept}, []ipam.Address{moved}}, // until it was given up
	} {
		has := map[ipam.Address]bool{}
		for _, at := range step.has {
			has[at] = true
		}
		if lost := m.lost(own, has, start.Add(step.after)); !slices.Equal(lost, step.lost) {
			t.Errorf("after %s lost are %v, want %v", step.after, lost, step.lost)
		}
	}
}
