package netops

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"slices"
	"strings"
	"unsafe"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// Legacy iptables keeps its rules past nftables, in tables of its own. The kernel gives one of them as it lies there, by getsockopt
// (linux/netfilter_ipv4/ip_tables.h, netfilter_ipv6/ip6_tables.h, netfilter/x_tables.h).

// A legacyFamily is where a family's tables are, and how an entry of theirs lies.
type legacyFamily struct {
	names         string // the tables that this namespace has; nobody has used one where it is absent or empty
	domain, level int
	header        int // bytes of an entry before its matches
	offsets       int // where in it the offset of its target is, and behind that the one of the next entry, of two bytes each
}

var (
	legacy4 = legacyFamily{"/proc/thread-self/net/ip_tables_names", unix.AF_INET, unix.IPPROTO_IP, 112, 88}
	legacy6 = legacyFamily{"/proc/thread-self/net/ip6_tables_names", unix.AF_INET6, unix.IPPROTO_IPV6, 168, 140}
)

const (
	getInfo, getEntries = 64, 65 // IPT_SO_GET_INFO, IPT_SO_GET_ENTRIES; those of ip6_tables.h are the same
	tableName           = 32     // XT_TABLE_MAXNAMELEN
	infoSize            = 84     // struct ipt_getinfo
	infoBytes           = 80     // where in it the size of all entries is
	entriesHeader       = 40     // struct ipt_get_entries, before the entries
	targetHeader        = 32     // struct xt_entry_target
	targetName          = 2      // where in it the name is
)

// legacyChain reports whether legacy iptables has a chain of a name with rules in the table nat. It runs in the host's namespace.
func legacyChain(f nftables.TableFamily, chain string) (bool, error) {
	l := legacy4
	if f == nftables.TableFamilyIPv6 {
		l = legacy6
	}
	names, err := os.ReadFile(l.names)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !slices.Contains(strings.Fields(string(names)), "nat") {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	entries, err := l.read("nat")
	if err != nil {
		return false, fmt.Errorf("read the legacy table nat of %s: %w", l.names, err)
	}
	return l.has(entries, chain)
}

// read gives a table's entries. A table that changes meanwhile is read again.
func (l legacyFamily) read(table string) ([]byte, error) {
	runtime.LockOSThread() // the socket belongs to the namespace of this thread
	defer runtime.UnlockOSThread()
	socket, err := unix.Socket(l.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return nil, err
	}
	defer unix.Close(socket)
	const tries = 10
	for range tries {
		info := make([]byte, infoSize)
		copy(info[:tableName-1], table)
		if err = l.get(socket, getInfo, info); err != nil {
			return nil, err
		}
		size := binary.NativeEndian.Uint32(info[infoBytes:])
		entries := make([]byte, entriesHeader+size)
		copy(entries[:tableName-1], table)
		binary.NativeEndian.PutUint32(entries[tableName:], size)
		if err = l.get(socket, getEntries, entries); err == nil {
			return entries[entriesHeader:], nil
		}
		if !errors.Is(err, unix.EAGAIN) { // its size is another by now
			return nil, err
		}
	}
	return nil, err
}

// get is getsockopt(2) with a buffer that says what is asked for.
func (l legacyFamily) get(socket, option int, buffer []byte) error {
	size := uint32(len(buffer))
	_, _, errno := unix.Syscall6(unix.SYS_GETSOCKOPT, uintptr(socket), uintptr(l.level), uintptr(option),
		uintptr(unsafe.Pointer(&buffer[0])), uintptr(unsafe.Pointer(&size)), 0)
	if errno != 0 {
		return errno
	}
	return nil
}

// has reports whether a chain is among a table's entries, and has a rule. A chain begins with an entry whose target is called ERROR and
// has the chain's name, and ends with one that returns; the rules lie between. The table ends with an entry that is called ERROR itself.
func (l legacyFamily) has(entries []byte, chain string) (bool, error) {
	inside := 0 // entries of the chain so far, with its beginning; 0: it has not begun
	for len(entries) > 0 {
		if len(entries) < l.header {
			return false, errors.New("an entry is cut off")
		}
		target := int(binary.NativeEndian.Uint16(entries[l.offsets:]))
		next := int(binary.NativeEndian.Uint16(entries[l.offsets+2:]))
		if target < l.header || next < target+targetHeader || next > len(entries) {
			return false, fmt.Errorf("an entry has its target at %d, the next one at %d", target, next)
		}
		begins := bytes.HasPrefix(entries[target+targetName:next], []byte("ERROR\x00"))
		switch {
		case begins && inside > 0:
			return inside > 2, nil
		case begins:
			if name, _, _ := bytes.Cut(entries[target+targetHeader:next], []byte{0}); string(name) == chain {
				inside = 1
			}
		case inside > 0:
			inside++
		}
		entries = entries[next:]
	}
	return false, nil
}
