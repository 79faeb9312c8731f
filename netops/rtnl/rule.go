package rtnl

import (
	"fmt"
	"net/netip"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An OwnRule has the kernel look first in another table than the main one for where packets from a prefix go (ip-rule(8)).
type OwnRule struct {
	From  netip.Prefix
	Table int
}

// rulePriority comes after the kernel's own rule of local addresses (0), and before that of the main table (32766). With one of the
// tables OwnTables it tells rules that are ours; kernels before 4.17 do not remember who put a rule.
const rulePriority = 98

// fraProtocol is FRA_PROTOCOL.
const fraProtocol = 21

// OwnRules lists the rules of both families that are ours.
func OwnRules(s *Socket) (all []OwnRule, err error) {
	for _, family := range [...]uint8{unix.AF_INET, unix.AF_INET6} {
		header := &nl.RtMsg{} // it is as long as struct fib_rule_hdr
		header.Family = family
		before := len(all)
		err = s.dump(unix.RTM_GETRULE, "list rules", func() { all = all[:before] }, func(_ uint16, body []byte) {
			if r, own := ParseOwnRule(body); own && body[0] == family {
				all = append(all, r)
			}
		}, header)
		if err != nil {
			return nil, err
		}
	}
	return all, nil
}

// ParseOwnRule reads the body of RTM_NEWRULE or RTM_DELRULE; false: it is another's rule.
func ParseOwnRule(body []byte) (r OwnRule, own bool) {
	const sourceLength, table = 2, 4 // in struct fib_rule_hdr
	if len(body) < unix.SizeofRtMsg {
		return r, false
	}
	r.Table = int(body[table])
	var from netip.Addr
	priority := 0
	for kind, value := range Attributes(body[unix.SizeofRtMsg:]) {
		switch kind {
		case unix.FRA_SRC:
			from, _ = netip.AddrFromSlice(value)
		case unix.FRA_TABLE:
			r.Table = number(value)
		case unix.FRA_PRIORITY:
			priority = number(value)
		}
	}
	r.From = netip.PrefixFrom(from, int(body[sourceLength]))
	return r, priority == rulePriority && isOwnTable(r.Table) && from.IsValid()
}

// PutOwnRule asks for a rule.
func PutOwnRule(r OwnRule) Request {
	return aboutOwnRule(unix.RTM_NEWRULE, unix.NLM_F_CREATE|unix.NLM_F_EXCL, r)
}

// DropOwnRule asks for the end of a rule that PutOwnRule has put.
func DropOwnRule(r OwnRule) Request { return aboutOwnRule(unix.RTM_DELRULE, 0, r) }

func aboutOwnRule(kind, flags int, r OwnRule) Request {
	header := &nl.RtMsg{}
	header.Family, header.Src_len, header.Table = familyOf(r.From.Addr()), uint8(r.From.Bits()), uint8(r.Table)
	header.Type = unix.FR_ACT_TO_TBL
	return ask(kind, flags, fmt.Sprintf("change the rule of packets from %v", r.From), header,
		addressAttr(unix.FRA_SRC, r.From.Masked().Addr()), numberAttr(unix.FRA_PRIORITY, rulePriority),
		numberAttr(unix.FRA_TABLE, r.Table), nl.NewRtAttr(fraProtocol, []byte{RouteProto}))
}
