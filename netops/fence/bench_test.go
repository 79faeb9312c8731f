package fence

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// BenchmarkJoinLeave compares, in one run, what a port costs that may send what it likes, one that sends from its own MAC and
// addresses only, and one that is isolated besides.
func BenchmarkJoinLeave(b *testing.B) {
	k, _ := newBridge(b)
	v4, v6 := netip.MustParseAddr("10.42.0.2"), netip.MustParseAddr("fd42::2")
	own := Member{Port: "bthx", Class: "stateful", MAC: net.HardwareAddr{2, 0, 0, 0, 0, 1}, Addresses: []netip.Addr{v4}}
	both := own
	both.Addresses = []netip.Addr{v4, v6}
	isolated, isolatedBoth := own, both
	isolated.Isolated, isolatedBoth.Isolated = true, true
	members := [...]struct {
		name string
		Member
	}{{"trusted", anyone("bthx", "stateful")}, {"v4", own}, {"v4v6", both}, {"isolated-v4", isolated}, {"isolated-v4v6", isolatedBoth}}
	var joins, leaves [len(members)][]float64 // in nanoseconds
	for b.Loop() {
		for i, m := range members {
			start := time.Now()
			must(b, k.Join(m.Member))
			joined := time.Now()
			must(b, k.Leave("bthx"))
			joins[i] = append(joins[i], float64(joined.Sub(start).Nanoseconds()))
			leaves[i] = append(leaves[i], float64(time.Since(joined).Nanoseconds()))
		}
	}
	b.ReportMetric(0, "ns/op")
	for i, m := range members {
		b.ReportMetric(quick(joins[i])/1000, m.name+"-µs/join")
		b.ReportMetric(quick(leaves[i])/1000, m.name+"-µs/leave")
		b.ReportMetric(quick(joins[i])/quick(joins[0]), m.name+"/trusted")
	}
}

// BenchmarkArmOpen is what a proof costs in the kernel, of both classes.
func BenchmarkArmOpen(b *testing.B) {
	k, _ := newBridge(b)
	must(b, k.SetFence(true, nil))
	for b.Loop() {
		prove(b, k, long())
	}
}
