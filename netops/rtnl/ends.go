package rtnl

import (
	"errors"

	"golang.org/x/sys/unix"
)

// OnlyEnds has the kernel drop all news but RTM_DELROUTE with protocol RouteProto, RTM_DELRULE and RTM_DELNEIGH.
func (f *Feed) OnlyEnds() (err error) {
	const kind, protocol = 4, unix.NLMSG_HDRLEN + 5 // in struct nlmsghdr, of two bytes in the machine's order; in struct rtmsg
	kindAt := uint32(kind)
	if native.Uint16([]byte{0, 1}) == 1 {
		kindAt++
	}
	program := []unix.SockFilter{
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: kindAt},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 4, K: unix.RTM_DELRULE},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jt: 3, K: unix.RTM_DELNEIGH},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 3, K: unix.RTM_DELROUTE},
		{Code: unix.BPF_LD | unix.BPF_B | unix.BPF_ABS, K: protocol},
		{Code: unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K, Jf: 1, K: RouteProto},
		{Code: unix.BPF_RET | unix.BPF_K, K: 1 << 16},
		{Code: unix.BPF_RET | unix.BPF_K},
	}
	raw, err := f.socket.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) {
		prog := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
		err = unix.SetsockoptSockFprog(int(fd), unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog)
	})
	return errors.Join(controlErr, err)
}
