package agent

import (
	"testing"

	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// damageTable takes a port out of its class, and puts one that does not exist into one, as somebody with nft would.
func damageTable(t *testing.T, port, gone string) {
	t.Helper()
	c, err := nftables.New()
	check(t, err)
	table := &nftables.Table{Name: "berth", Family: nftables.TableFamilyBridge}
	set, err := c.GetSetByName(table, "stateless")
	check(t, err)
	check(t, c.SetDeleteElements(set, []nftables.SetElement{{Key: ifname(port)}}))
	check(t, c.SetAddElements(set, []nftables.SetElement{{Key: ifname(gone)}}))
	check(t, c.Flush())
}

func ifname(name string) []byte {
	key := make([]byte, unix.IFNAMSIZ)
	copy(key, name)
	return key
}
