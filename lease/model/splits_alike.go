package model

import "slices"

// forget makes states equal that differ only in what nobody can hear of any more.
func (s *splitsState) forget() {
	heard := [maxChanges + 1]bool{}
	for _, n := range s.nodes {
		heard[max(n.known, 0)] = true
		heard[max(n.view-1, 0)] = true
		heard[n.sent.answer] = true
		for v := n.watched + 1; v <= s.now; v++ {
			heard[v] = true
		}
	}
	for v := range s.now {
		if !heard[v] {
			s.versions[v] = owners{}
		}
	}
}

// swapped is the state with the two addresses called by each other's name.
func (s splitsState) swapped() splitsState {
	for v := range s.versions {
		s.versions[v] = s.versions[v].swapped()
	}
	for n := range s.nodes {
		x := &s.nodes[n]
		x.free, x.inTransit, x.attached = swapBits(x.free), swapBits(x.inTransit), swapBits(x.attached)
		x.sent.want, x.late.want = x.sent.want.swapped(), x.late.want.swapped()
	}
	return s
}

func (o owners) swapped() owners { return owners{o[1], o[0]} }

func swapBits(mask uint8) uint8 { return mask>>1 | mask&1<<1 }

// less puts the states that differ only by the addresses' names in some order.
func (s *splitsState) less(other *splitsState) bool {
	for v := range s.versions {
		if c := slices.Compare(s.versions[v][:], other.versions[v][:]); c != 0 {
			return c < 0
		}
	}
	for n := range s.nodes {
		x, y := &s.nodes[n], &other.nodes[n]
		if c := slices.Compare([]uint8{x.free, x.inTransit, x.attached}, []uint8{y.free, y.inTransit, y.attached}); c != 0 {
			return c < 0
		}
		if c := slices.Compare(x.sent.want[:], y.sent.want[:]); c != 0 {
			return c < 0
		}
		if c := slices.Compare(x.late.want[:], y.late.want[:]); c != 0 {
			return c < 0
		}
	}
	return false
}
