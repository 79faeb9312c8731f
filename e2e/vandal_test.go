package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/e2e/lab"
)

// A vandal is somebody with etcdctl, nft and ip.
type vandal struct {
	*testing.T
	etcd *clientv3.Client
}

func newVandal(t *testing.T, l *lab.Lab) *vandal {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{l.Etcd.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return &vandal{t, client}
}

func (v *vandal) check(err error) {
	v.Helper()
	if err != nil {
		v.Fatal(err)
	}
}

func (v *vandal) put(key, value string) {
	v.Helper()
	_, err := v.etcd.Put(v.Context(), "/berth/v1/"+key, value)
	v.check(err)
}

func (v *vandal) del(key string) {
	v.Helper()
	gone, err := v.etcd.Delete(v.Context(), "/berth/v1/"+key)
	v.check(err)
	if gone.Deleted != 1 {
		v.Fatalf("%s is not there", key)
	}
}

// edit changes fields of a record.
func (v *vandal) edit(key string, f func(record map[string]any)) {
	v.Helper()
	got, err := v.etcd.Get(v.Context(), "/berth/v1/"+key)
	v.check(err)
	record := map[string]any{}
	v.check(json.Unmarshal(got.Kvs[0].Value, &record))
	f(record)
	text, err := json.Marshal(record)
	v.check(err)
	v.put(key, string(text))
}

// port makes a port that no journal knows.
func (v *vandal) port(node *lab.Node, name, alias string) {
	v.Helper()
	ns, err := netns.GetFromPath(node.Netns())
	v.check(err)
	defer ns.Close()
	handle, err := netlink.NewHandleAt(ns, unix.NETLINK_ROUTE)
	v.check(err)
	defer handle.Close()
	link := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "stray"}
	v.check(handle.LinkAdd(link))
	v.check(handle.LinkSetAlias(link, alias))
}

// reserve reserves an address of the stateful range for a member that does not run, and returns its identity's key.
func reserve(t *testing.T, l *lab.Lab, member, address string) (identity string) {
	t.Helper()
	if _, err := l.Nodes[0].Berthctl(t.Context(), "reserve", "shop/db/"+member, "--address", address); err != nil {
		t.Fatal(err)
	}
	return "identities/berth/shop/db/" + member + "/eth0"
}

func partOf(first, owner string) string {
	return fmt.Sprintf(`{"prefix":"%[1]s/26","parts":[{"prefix":"%[1]s/26","owner":"%[2]s"}]}`, first, owner)
}

func assignmentOf(node string) string {
	return fmt.Sprintf(`{"attachment":{"network":"berth","container":"nobody","interface":"eth0"},"node":"%s","since":"2026-01-01T00:00:00Z"}`, node)
}

// attach is the damage that attaches a reservation to a container that is not there.
func attach(node string) func(map[string]any) {
	return func(record map[string]any) {
		record["epoch"] = record["epoch"].(float64) + 1
		record["holder"] = map[string]any{
			"attachment": map[string]any{"network": "berth", "container": "nobody", "interface": "eth0"}, "node": node,
			"since": "2026-01-01T00:00:00Z",
		}
	}
}

// free is an address of the same block that none of the containers has.
func free(a netip.Addr, all ...*lab.Container) string {
	for next := netip.PrefixFrom(a, 26).Masked().Addr().Next(); ; next = next.Next() {
		if !slices.ContainsFunc(all, func(c *lab.Container) bool { return c.Address == next }) {
			return next.String()
		}
	}
}
