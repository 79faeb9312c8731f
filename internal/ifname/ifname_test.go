package ifname

import (
	"strings"
	"testing"
)

func TestANameThatTheKernelKeepsIsAccepted(t *testing.T) {
	for _, name := range []string{"eth0", "e", "br-lan.100", "en0@x", "fifteen-bytes-x", "...", "-", "all1", "Default"} {
		if err := Validate("bridge", name); err != nil {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestANameThatTheKernelRefusesOrExpandsIsRefusedWithItsKey(t *testing.T) {
	for _, name := range []string{
		"", "sixteen-bytes-xx", ".", "..", "all", "default", "eth%d", "br%d", "%", "100%", "%%", "a/b", "a:1", "a b", "a\tb", "a\nb", "\x00",
		"a\x7f", "é",
		"a\u00a0b", strings.Repeat("x", 1<<16),
	} {
		if err := Validate("CNI_IFNAME", name); err == nil || !strings.HasPrefix(err.Error(), "CNI_IFNAME ") {
			t.Errorf("%q: %v: want an error that begins with the key", name, err)
		}
	}
}
