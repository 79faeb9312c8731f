package agent

import (
	"encoding/json"
	"net/netip"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
)

// steal attaches a reservation to a container of another node, as a node that had waited out this one's right would.
func steal(t *testing.T, r *rig, pool string, addr netip.Addr) {
	t.Helper()
	attachElsewhere(t, r, pool, addr, func(epoch int64) int64 { return epoch + 1 })
}

// attachElsewhere does so by whatever epoch.
func attachElsewhere(t *testing.T, r *rig, pool string, addr netip.Addr, by func(epoch int64) int64) {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{Endpoints: r.etcd.Endpoints(), Logger: zap.NewNop()})
	check(t, err)
	defer client.Close()
	key := "/berth/v1/reservations/" + pool + "/" + addr.String()
	got, err := client.Get(t.Context(), key)
	check(t, err)
	var record map[string]any
	check(t, json.Unmarshal(got.Kvs[0].Value, &record))
	record["epoch"] = by(int64(record["epoch"].(float64)))
	holder := record["holder"].(map[string]any)
	holder["node"] = "n2"
	holder["attachment"].(map[string]any)["container"] = "elsewhere"
	text, err := json.Marshal(record)
	check(t, err)
	_, err = client.Put(t.Context(), key, string(text))
	check(t, err)
}
