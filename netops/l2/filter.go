package l2

import (
	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// answersOnly is a socket's filter that takes ARP and neighbour advertisements, by their places in the frame.
var answersOnly = mustAssemble(
	bpf.LoadAbsolute{Off: 12, Size: 2}, // the frame's protocol
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_ARP, SkipTrue: 5},
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.ETH_P_IPV6, SkipFalse: 5},
	bpf.LoadAbsolute{Off: sizeofEthernet + 6, Size: 1}, // IPv6's next header
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: unix.IPPROTO_ICMPV6, SkipFalse: 3},
	bpf.LoadAbsolute{Off: sizeofEthernet + sizeofIPv6, Size: 1}, // ICMPv6's type
	bpf.JumpIf{Cond: bpf.JumpEqual, Val: typeAdvertisement, SkipFalse: 1},
	bpf.RetConstant{Val: 1 << 16}, // all of it
	bpf.RetConstant{Val: 0},
)

// mustAssemble is for a program that is written here.
func mustAssemble(program ...bpf.Instruction) (filter []unix.SockFilter) {
	raw, err := bpf.Assemble(program)
	if err != nil {
		panic(err)
	}
	for _, r := range raw {
		filter = append(filter, unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K})
	}
	return filter
}
