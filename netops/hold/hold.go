// Package hold keeps two agents from using one network namespace.
package hold

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/berth-ipam/berth/netops/rtnl"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Hold is a process's exclusive use of a network namespace while it runs. It is an nftables table without rules that belongs to
// the process's socket, so that the kernel itself removes it with the process; making it needs CAP_NET_ADMIN over the namespace,
// and no flush of the ruleset by another reaches it.
type Hold struct{ socket *rtnl.Socket }

// A HeldError says that another process holds the network namespace.
type HeldError struct{ By string } // what that process said of itself; empty: nothing

func (e *HeldError) Error() string {
	by := e.By
	if by == "" {
		by = "another process"
	}
	return fmt.Sprintf("this network namespace is served by %s", by)
}

// ErrUnsupported says that the kernel cannot hold a network namespace for a process (before Linux 5.12).
var ErrUnsupported = errors.New("hold: this kernel has no tables that belong to a process: want Linux 5.12")

const (
	tableName   = "berth-agent"
	tries       = 10
	maxUserData = 250 // of the comment; the kernel takes 256 bytes of user data in all

	// linux/netfilter/nf_tables.h, which x/sys has in part.
	tableUserData  = 6 // NFTA_TABLE_USERDATA
	tableOwner     = 7 // NFTA_TABLE_OWNER
	tableFlagOwner = 2 // NFT_TABLE_F_OWNER
)

// Namespace holds the calling thread's network namespace for this process, until Close or the process's end. self describes the
// process to the next that tries, which gets a *HeldError.
func Namespace(self string) (*Hold, error) {
	s, err := rtnl.OpenSocketOf(unix.NETLINK_NETFILTER)
	if err != nil {
		return nil, fmt.Errorf("hold: %w", err)
	}
	h := &Hold{s}
	for n := 1; ; n++ {
		err = h.acquire(self)
		if err == nil {
			return h, nil
		}
		held := errors.Is(err, unix.EEXIST) || errors.Is(err, unix.EPERM)
		if held && n < tries {
			owned, by, looked := h.look()
			switch {
			case errors.Is(looked, unix.ENOENT) && errors.Is(err, unix.EEXIST): // its owner has just ended
				continue
			case looked == nil && owned:
				err = &HeldError{by}
			case looked == nil && h.remove() == nil: // a table without an owner was made by hand
				continue
			}
		}
		s.Close()
		if _, taken := errors.AsType[*HeldError](err); taken {
			return nil, err
		}
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EINVAL) {
			return nil, ErrUnsupported
		}
		return nil, fmt.Errorf("hold the network namespace: %w", err)
	}
}

// Close releases the namespace.
func (h *Hold) Close() { h.socket.Close() }

func (h *Hold) acquire(self string) error {
	flags := binary.BigEndian.AppendUint32(nil, tableFlagOwner)
	return h.commit(tableMessage(unix.NFT_MSG_NEWTABLE, unix.NLM_F_CREATE|unix.NLM_F_EXCL,
		nl.NewRtAttr(unix.NFTA_TABLE_FLAGS, flags), nl.NewRtAttr(tableUserData, comment(self))))
}

func (h *Hold) remove() error { return h.commit(tableMessage(unix.NFT_MSG_DELTABLE, 0)) }

// look reads the owner of the table.
func (h *Hold) look() (owned bool, by string, err error) {
	r := rtnl.Request{NetlinkRequest: tableMessage(unix.NFT_MSG_GETTABLE, 0), What: "read table " + tableName}
	err = h.socket.Get(func(_ uint16, body []byte) {
		if len(body) < sizeofNfgenmsg {
			return
		}
		for kind, value := range rtnl.Attributes(body[sizeofNfgenmsg:]) {
			switch kind {
			case tableOwner:
				owned = true
			case tableUserData:
				by = uncomment(value)
			}
		}
	}, r)
	return owned, by, err
}

// commit carries out one message as a transaction (nfnetlink's batch).
func (h *Hold) commit(message *nl.NetlinkRequest) error {
	return h.socket.DoFramed(batchMessage(unix.NFNL_MSG_BATCH_BEGIN), message, batchMessage(unix.NFNL_MSG_BATCH_END))
}

// sizeofNfgenmsg is the size of struct nfgenmsg: family, version, resource.
const sizeofNfgenmsg = 4

func tableMessage(kind, flags int, attributes ...*nl.RtAttr) *nl.NetlinkRequest {
	m := nl.NewNetlinkRequest(unix.NFNL_SUBSYS_NFTABLES<<8|kind, flags|unix.NLM_F_ACK)
	m.AddRawData([]byte{unix.NFPROTO_BRIDGE, unix.NFNETLINK_V0, 0, 0})
	return withAttributes(m, append([]*nl.RtAttr{nl.NewRtAttr(unix.NFTA_TABLE_NAME, nl.ZeroTerminated(tableName))}, attributes...))
}

func withAttributes(m *nl.NetlinkRequest, attributes []*nl.RtAttr) *nl.NetlinkRequest {
	for _, a := range attributes {
		m.AddRawData(a.Serialize())
	}
	return m
}

func batchMessage(kind int) *nl.NetlinkRequest {
	m := nl.NewNetlinkRequest(kind, 0)
	m.AddRawData([]byte{unix.AF_UNSPEC, unix.NFNETLINK_V0, 0, unix.NFNL_SUBSYS_NFTABLES})
	return m
}

// comment is a table's comment as nft(8) writes and shows it: kind, length, and the text with a zero.
func comment(words string) []byte {
	words = words[:min(len(words), maxUserData)]
	return append([]byte{0, byte(len(words) + 1)}, nl.ZeroTerminated(words)...)
}

func uncomment(data []byte) string {
	if len(data) < 2 || data[0] != 0 {
		return ""
	}
	return rtnl.Text(data[2:min(len(data), 2+int(data[1]))])
}
