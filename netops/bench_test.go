package netops

import (
	"sync/atomic"
	"testing"
)

func BenchmarkAttach(b *testing.B) {
	for _, families := range []struct {
		name string
		n    int
	}{{"v4", 1}, {"v4v6", 2}} {
		b.Run(families.name, func(b *testing.B) {
			k, _ := newBridge(b)
			p, _ := newPort(b, 1)
			p.Addresses, p.Gateways = p.Addresses[:families.n], p.Gateways[:families.n]
			for b.Loop() {
				if _, err := k.Attach(p); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				must(b, k.Detach(p.Name))
				b.StartTimer()
			}
		})
	}
}

func BenchmarkDetach(b *testing.B) {
	k, _ := newBridge(b)
	p, _ := newPort(b, 1)
	for b.Loop() {
		b.StopTimer()
		_, err := k.Attach(p)
		must(b, err)
		must(b, k.Join(member(p, "stateless")))
		b.StartTimer()
		if err := k.Detach(p.Name); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkAttachJoinDetachParallel(b *testing.B) {
	k, _ := newBridge(b)
	var n atomic.Int64
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		p, _ := newPort(b, int(n.Add(1)))
		for pb.Next() {
			if _, err := k.Attach(p); err != nil {
				b.Error(err)
			}
			if err := k.Join(member(p, "stateless")); err != nil {
				b.Error(err)
			}
			if err := k.Detach(p.Name); err != nil {
				b.Error(err)
			}
		}
	})
}

func BenchmarkEnsuredBridge(b *testing.B) {
	k, _ := newHost(b)
	bridge := Bridge{Name: "berth0", Addresses: prefixes("10.42.0.1/16")}
	for b.Loop() {
		if _, err := k.EnsureBridge(bridge); err != nil {
			b.Fatal(err)
		}
	}
}
