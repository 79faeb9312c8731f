package faults

import (
	"testing"

	"github.com/berth-ipam/berth/e2e/lab"
)

func TestWhateverIsLeftOfAContainerIsReported(t *testing.T) {
	empty := lab.Census{"n1 holds 0 attachments", "n1 has link berth0"}
	for _, left := range []string{
		"n1 has port stateless/bth0123456789ab", "n1 has link bth0123456789ab", "n1 has note 17-c0001", "n1 owes etcd 1 changes",
		"/berth/v1/assignments/default/10.42.0.9", "/berth/v1/identities/berth/shop/db/db-0/eth0", "/berth/v1/reservations/default/10.42.0.3 {}",
	} {
		if lines := remains(empty, append(empty[:2:2], left)); len(lines) != 1 || lines[0] != "+ "+left {
			t.Errorf("%q is told as %q", left, lines)
		}
	}
	if lines := remains(empty, empty); len(lines) != 0 {
		t.Errorf("nothing is left, and is told as %q", lines)
	}
}
