package fence

import (
	"syscall"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// A Change is which of Berth's tables another process has changed.
type Change int

// The kinds of a Change.
const (
	FilterChanged     Change = iota + 1 // the table of classes and slots
	MasqueradeChanged                   // a table of pools that masquerade
)

// A Watch reports changes of Berth's tables by other processes, from the kernel's nftables events.
type Watch struct {
	ours    *Senders
	changed func(Change)
	dirty   map[Change]bool // the changes of the transaction under way
}

// NewWatch makes a watch that calls told for each change that does not come from ours.
func NewWatch(ours *Senders, told func(Change)) *Watch {
	return &Watch{ours: ours, changed: told, dirty: map[Change]bool{}}
}

// Read reads a message of multicast group NFNLGRP_NFTABLES.
func (w *Watch) Read(news []byte) {
	messages, _ := syscall.ParseNetlinkMessage(news)
	for _, m := range messages {
		if m.Header.Type == unix.NFNL_SUBSYS_NFTABLES<<8|unix.NFT_MSG_NEWGEN {
			w.notify() // the transaction's end
		} else if kind := concerns(m.Data); kind != 0 && !w.ours.has(m.Header.Pid) {
			w.dirty[kind] = true
		}
	}
}

// Lost handles messages that the kernel has dropped: any table may have changed.
func (w *Watch) Lost() {
	w.dirty[FilterChanged], w.dirty[MasqueradeChanged] = true, true
	w.notify()
}

func (w *Watch) notify() {
	for kind := range w.dirty {
		w.changed(kind)
	}
	clear(w.dirty)
}

// concerns is the Change of a message about a table or what is in one; 0: the table is not Berth's. After struct nfgenmsg, whose
// first byte is the family, the first attribute of all of them is the table's name (NFTA_TABLE_NAME and its like).
func concerns(body []byte) Change {
	const sizeofHeader = 4
	if len(body) < sizeofHeader {
		return 0
	}
	for kind, value := range rtnl.Attributes(body[sizeofHeader:]) {
		if kind != unix.NFTA_TABLE_NAME {
			continue
		}
		name, family := rtnl.Text(value), nftables.TableFamily(body[0])
		switch {
		case name == filterTable.Name && (family == filterTable.Family || family == routedTable.Family):
			return FilterChanged
		case name == MasqueradeTable && (family == nftables.TableFamilyIPv4 || family == nftables.TableFamilyIPv6):
			return MasqueradeChanged
		}
		return 0
	}
	return 0
}
