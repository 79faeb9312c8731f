package fence

import "testing"

func BenchmarkJoinLeave(b *testing.B) {
	k, _ := newBridge(b)
	for b.Loop() {
		if err := k.Join("bthx", "stateful"); err != nil {
			b.Fatal(err)
		}
		if err := k.Leave("bthx"); err != nil {
			b.Fatal(err)
		}
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
