package netops

import (
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"runtime"
	"testing"
	"unsafe"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// addLegacyChain adds a chain to legacy iptables' table nat, with so many rules that do nothing. It runs in the host's namespace.
func addLegacyChain(l legacyFamily, name string, rules int) error {
	socket, err := unix.Socket(l.domain, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.IPPROTO_RAW)
	if err != nil {
		return err
	}
	defer unix.Close(socket)
	info := make([]byte, infoSize)
	copy(info, "nat")
	if err := l.get(socket, getInfo, info); err != nil { // with which the kernel makes the table
		return err
	}
	entries, err := l.read("nat")
	if err != nil {
		return err
	}
	entry := func(target string, data []byte) []byte {
		e := make([]byte, l.header+targetHeader, l.header+targetHeader+len(data))
		e = append(e, data...)
		binary.NativeEndian.PutUint16(e[l.offsets:], uint16(l.header))
		binary.NativeEndian.PutUint16(e[l.offsets+2:], uint16(len(e)))
		binary.NativeEndian.PutUint16(e[l.header:], uint16(len(e)-l.header))
		copy(e[l.header+targetName:], target)
		return e
	}
	called := func(name string) []byte { return append([]byte(name), make([]byte, 32-len(name))...) }
	returns := entry("", binary.NativeEndian.AppendUint64(nil, uint64(0xffff_ffff&-5))) // XT_RETURN
	end := len(entries) - len(entry("ERROR", called("ERROR")))
	table := append(append([]byte(nil), entries[:end]...), entry("ERROR", called(name))...)
	for range rules + 1 {
		table = append(table, returns...)
	}
	table = append(table, entries[end:]...)

	const header, added, hooks, count, counters = 96, 2, 32, 76, 84
	replace := make([]byte, header, header+len(table)) // struct ipt_replace
	copy(replace, "nat")
	was := binary.NativeEndian.Uint32(info[count:])
	binary.NativeEndian.PutUint32(replace[32:], binary.NativeEndian.Uint32(info[hooks:]))
	binary.NativeEndian.PutUint32(replace[36:], was+uint32(rules)+added)
	binary.NativeEndian.PutUint32(replace[40:], uint32(len(table)))
	copy(replace[44:84], info[hooks+4:hooks+44])
	binary.NativeEndian.PutUint32(replace[counters:], was)
	former := make([]byte, 16*was) // the kernel gives the former counters back
	binary.NativeEndian.PutUint64(replace[88:], uint64(uintptr(unsafe.Pointer(&former[0]))))
	replace = append(replace, table...)
	const setReplace = 64 // IPT_SO_SET_REPLACE
	_, _, errno := unix.Syscall6(unix.SYS_SETSOCKOPT, uintptr(socket), uintptr(l.level), setReplace,
		uintptr(unsafe.Pointer(&replace[0])), uintptr(len(replace)), 0)
	runtime.KeepAlive(former)
	if errno != 0 {
		return errno
	}
	return nil
}

// needsLegacyTables skips a test where the kernel of the host's namespace has none.
func needsLegacyTables(t *testing.T, l legacyFamily) {
	if _, err := os.Stat(l.names); errors.Is(err, fs.ErrNotExist) {
		t.Skip("this kernel has no legacy iptables")
	}
}

func TestAChainOfLegacyIptablesIsFoundOnlyWhereItHasRules(t *testing.T) {
	for family, l := range map[nftables.TableFamily]legacyFamily{nftables.TableFamilyIPv4: legacy4, nftables.TableFamilyIPv6: legacy6} {
		_, host := newHost(t)
		found := func(want bool, when string) {
			t.Helper()
			host.Do(func() error {
				is, err := legacyChain(family, "KUBE-SERVICES")
				if is != want {
					t.Errorf("%s: %s: found %v", l.names, when, is)
				}
				return err
			})
		}
		host.Do(func() error { needsLegacyTables(t, l); return nil })
		found(false, "without a table")
		host.Do(func() error { return addLegacyChain(l, "DOCKER", 2) })
		found(false, "another's chain")
		host.Do(func() error { return addLegacyChain(l, "KUBE-SERVICES", 0) })
		found(false, "a chain without a rule")
		_, host = newHost(t)
		host.Do(func() error { return addLegacyChain(l, "KUBE-SERVICES", 1) })
		host.Do(func() error { return addLegacyChain(l, "DOCKER", 1) })
		found(true, "a chain with a rule")
	}
}

func TestALegacyTableThatCannotBeReadIsAnErrorAndNotAnAbsence(t *testing.T) {
	for _, entries := range [][]byte{make([]byte, 10), make([]byte, 200)} {
		if is, err := legacy4.has(entries, "KUBE-SERVICES"); is || err == nil {
			t.Errorf("of %d bytes: found %v, error %v", len(entries), is, err)
		}
	}
}
