package rtnl

import (
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// DoFramed sends a message between two that begin and end a transaction, as nfnetlink has them, and returns what became of it.
func (s *Socket) DoFramed(begin, message, end *nl.NetlinkRequest) error {
	var out []byte
	for _, m := range [...]*nl.NetlinkRequest{begin, message, end} {
		s.seq++
		m.Seq = s.seq
		out = appendMessage(out, m)
	}
	if err := s.send(out); err != nil {
		return err
	}
	for {
		answers, err := s.receive()
		if err != nil {
			return err
		}
		for _, m := range answers {
			if m.Header.Seq < begin.Seq || m.Header.Seq > end.Seq || m.Header.Type != unix.NLMSG_ERROR {
				continue
			}
			if err := outcome(m); err != nil || m.Header.Seq == message.Seq {
				return err
			}
		}
	}
}
