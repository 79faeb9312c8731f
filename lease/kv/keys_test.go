package kv_test

import (
	"net/netip"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
)

func TestKeysAreThoseOfTheDesign(t *testing.T) {
	keys := kv.NewKeys("")
	id := allocator.Identity{Namespace: "shop", App: "db", Member: "db-0", Network: "berth", Interface: "eth0"}
	for want, got := range map[string]string{
		"/berth/v1/cluster":                            keys.Cluster(),
		"/berth/v1/config/revision":                    keys.Revision(),
		"/berth/v1/config/history/12":                  keys.History(12),
		"/berth/v1/config/settings":                    keys.Settings(),
		"/berth/v1/config/pools/default":               keys.Pool("default"),
		"/berth/v1/nodes/n1":                           keys.Node("n1"),
		"/berth/v1/sessions/n1":                        keys.Session("n1"),
		"/berth/v1/status/n1":                          keys.Status("n1"),
		"/berth/v1/blocks/default/10.42.1.0":           keys.Block("default", lab.Prefix("10.42.1.0/26")),
		"/berth/v1/assignments/default/10.42.1.9":      keys.Assignment("default", lab.Addr("10.42.1.9")),
		"/berth/v1/reservations/default/fd00::9":       keys.Reservation("default", lab.Addr("fd00::9")),
		"/berth/v1/identities/berth/shop/db/db-0/eth0": keys.Identity(id),
		"/berth/v1/questions/2":                        keys.Question("2"),
		"/berth/v1/questions/2/n1":                     keys.Answer("2", "n1"),
		"/berth/v1/demands/default/n1":                 keys.Of(kv.Key{Kind: kv.KindDemand, Pool: "default", Node: "n1"}),
	} {
		if got != want {
			t.Errorf("the key is %s, want %s", got, want)
		}
	}
}

func TestAPrefixMayEndInASlashOrNot(t *testing.T) {
	if a, b := kv.NewKeys("/x"), kv.NewKeys("/x/"); a != b {
		t.Errorf("%v and %v differ", a, b)
	}
}

func TestAForgedKeyIsRefused(t *testing.T) {
	for _, key := range []string{
		"", "/berth/v1/", "/berth/v1/nodes", "/berth/v1/nodes/", "/berth/v1/nodes/n1/x", "/berth/v2/nodes/n1", "/berth/v1/cluster/x",
		"/berth/v1/blocks/default/10.42.1.0/26", "/berth/v1/blocks/default/010.42.1.0", "/berth/v1/blocks/de fault/10.42.1.0",
		"/berth/v1/assignments/default/fd00:0::9", "/berth/v1/assignments/default/fe80::1%eth0", "/berth/v1/reservations//10.0.0.1",
		"/berth/v1/config", "/berth/v1/config/other", "/berth/v1/config/pools", "/berth/v1/config/history/01", "/berth/v1/config/history/x",
		"/berth/v1/identities/net/ns/app/member", "/berth/v1/identities/net/ns/app/member/eth0/x", "/berth/v1/identities/net/../app/member/eth0",
		"/berth/v1/other/x", "/berth/v1/questions", "/berth/v1/questions/", "/berth/v1/questions/1/", "/berth/v1/questions/1/n1/x",
		"/berth/v1/questions//n1", "/berth/v1/demands/default", "/berth/v1/demands/default/n1/x", "/berth/v1/demands//n1",
	} {
		if parsed, err := kv.NewKeys("").Parse(key); err == nil {
			t.Errorf("%q is read as %+v", key, parsed)
		}
	}
}

// What Parse accepts, Of builds again; and what Of builds from valid names, Parse reads again.
func FuzzKeysGoRound(f *testing.F) {
	f.Add("/berth/v1/identities/berth/shop/db/db-0/eth0", "ns", "eth0", uint32(7))
	f.Add("/berth/v1/blocks/default/10.42.1.0", "a.b-c_d", "x%y", uint32(1<<31))
	f.Add("/berth/v1/config/history/3", "cluster", "config", uint32(0))
	f.Add("/berth/v1/questions/1", "questions", "eth0", uint32(1))
	f.Add("/berth/v1/questions/1/n1", "n1", "eth0", uint32(2))
	f.Add("/berth/v1/checks/connectivity", "connectivity", "eth0", uint32(4))
	f.Add("/berth/v1/checks/connectivity/n1", "checks", "eth0", uint32(5))
	f.Add("/berth/v1/demands/default/n1", "1", "eth0", uint32(3))
	keys := kv.NewKeys("")
	f.Fuzz(func(t *testing.T, key, name, iface string, number uint32) {
		if parsed, err := keys.Parse(key); err == nil && keys.Of(parsed) != key {
			t.Errorf("%q is read as %+v, which is %q", key, parsed, keys.Of(parsed))
		}
		if allocator.ValidName("name", name) != nil {
			return
		}
		a := netip.AddrFrom4([4]byte{byte(number >> 24), byte(number >> 16), byte(number >> 8), byte(number)})
		all := []kv.Key{
			{Kind: kv.KindPool, Pool: name}, {Kind: kv.KindNode, Node: name}, {Kind: kv.KindSession, Node: name}, {Kind: kv.KindStatus, Node: name},
			{Kind: kv.KindBlock, Pool: name, Address: a}, {Kind: kv.KindAssignment, Pool: name, Address: a},
			{Kind: kv.KindReservation, Pool: name, Address: a},
			{Kind: kv.KindHistory, Number: int64(number)}, {Kind: kv.KindCluster}, {Kind: kv.KindRevision}, {Kind: kv.KindSettings},
			{Kind: kv.KindDemand, Pool: name, Node: name}, {Kind: kv.KindQuestion, Question: name}, {Kind: kv.KindQuestion, Question: name,
				Node: name}, {Kind: kv.KindCheck}, {Kind: kv.KindCheck, Node: name},
		}
		id := allocator.Identity{Namespace: name, App: name, Member: name, Network: name, Interface: iface}
		if id.Validate() == nil {
			all = append(all, kv.Key{Kind: kv.KindIdentity, Identity: id})
		}
		seen := map[string]bool{}
		for _, want := range all {
			text := keys.Of(want)
			if got, err := keys.Parse(text); err != nil || got != want {
				t.Errorf("%+v is %q, which is read as %+v, %v", want, text, got, err)
			}
			if seen[text] {
				t.Errorf("%q stands for two records", text)
			}
			seen[text] = true
		}
	})
}
