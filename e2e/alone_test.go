package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

// ipam is the CNI project's bridge with addresses by Berth.
func ipam() *lab.Network {
	return &lab.Network{Name: "bridged", Version: "1.1.0", Path: []string{plugins}, Plugins: []map[string]any{
		{"type": "bridge", "bridge": "br0", "ipam": map[string]any{"type": "berth"}},
	}}
}

func TestOneMachineNeedsNoEtcdOfItsOwn(t *testing.T) {
	l := makeLab(t, lab.Options{Alone: true}, onePool)
	node := l.Nodes[0]
	network := lab.Plain()
	network.Plugins[0]["ipMasq"] = true
	a, b := alone(t, l, network), alone(t, l, network)
	add(t, a)
	add(t, b)
	reaches(t, a, b.Address)
	reaches(t, a, gateway.Addr())
	if err := a.Check(t.Context()); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	client := unixEtcd(t, node)
	labtest.Eventually(t, "the embedded etcd shows both, readably", func() error {
		answer, err := client.Get(t.Context(), "/berth/v1/assignments/", clientv3.WithPrefix())
		if err != nil || len(answer.Kvs) != 2 {
			return fmt.Errorf("%v, error %v", answer, err)
		}
		for _, kv := range answer.Kvs {
			if !json.Valid(kv.Value) {
				return fmt.Errorf("%s is not JSON: %s", kv.Key, kv.Value)
			}
		}
		return nil
	})
	had := a.Address
	if err := restart(t, node.Kill, node.Start); err != nil {
		t.Fatal(err)
	}
	if got := add(t, a); got != had {
		t.Errorf("after a kill of agent and etcd, ADD again gives %v: want %v", got, had)
	}
	del(t, a)
	del(t, b)
}

func alone(t *testing.T, l *lab.Lab, network *lab.Network) *lab.Container {
	t.Helper()
	c := container(t, l.Nodes[0], l)
	c.Network = network
	return c
}

func unixEtcd(t *testing.T, node *lab.Node) *clientv3.Client {
	t.Helper()
	client, err := clientv3.New(clientv3.Config{
		Endpoints: []string{"unix://" + filepath.Join(node.RunDir(), "etcd.sock")}, Logger: zap.NewNop(), DialTimeout: 5 * time.Second,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

func TestAnotherPluginsContainersGetTheirAddressesHere(t *testing.T) {
	if noPlugins != nil {
		t.Skip("the CNI project's plugins cannot be built here: ", noPlugins)
	}
	l := makeLab(t, lab.Options{Alone: true}, onePool)
	a, b := alone(t, l, ipam()), alone(t, l, ipam())
	result, err := a.Add(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	// Before there is a second one: a bridge takes the lowest MAC of its ports, and the plugin wants that of ADD.
	if err := a.Check(t.Context()); err != nil {
		t.Errorf("CHECK: %v", err)
	}
	add(t, b)
	reaches(t, a, b.Address)
	if got := result.IPs[0]; got.Address.String() != a.Address.String()+"/16" || got.Gateway.String() != gateway.Addr().String() {
		t.Errorf("ADD answers address %v, gateway %v: want %v/16 and %v", got.Address, got.Gateway, a.Address, gateway.Addr())
	}
	del(t, a)
	del(t, b)
	labtest.Eventually(t, "both addresses are free", func() error { return attachments(t.Context(), l.Nodes[0], 0) })
}

func attachments(ctx context.Context, node *lab.Node, want float64) error {
	got, err := node.Metric(ctx, "berth_attachments")
	if err == nil && got != want {
		err = fmt.Errorf("the agent counts %v attachments: want %v", got, want)
	}
	return err
}

func TestMetricsFollowPrometheusRules(t *testing.T) {
	l := makeLab(t, lab.Options{Alone: true}, onePool)
	c := alone(t, l, lab.Plain())
	add(t, c)
	del(t, c)
	_, body, err := l.Nodes[0].HTTP(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.New(strings.NewReader(body)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, verb := range []string{"ADD", "DEL"} {
		if n, err := l.Nodes[0].Metric(t.Context(), "berth_requests_total", "verb", verb, "result", "ok"); err != nil || n != 1 {
			t.Errorf("%s counts %v, error %v: want 1", verb, n, err)
		}
	}
}

func TestTheNodesAddressesMoveToTheBridgeWithItsNIC(t *testing.T) {
	l := newLab(t, 2, onePool)
	switchOwn := netip.MustParseAddr("10.200.0.1")
	c := container(t, l.Nodes[0], l)
	add(t, c)
	for _, to := range []netip.Addr{switchOwn, l.Nodes[1].Address} {
		if _, err := l.Nodes[0].Ping(to); err != nil {
			t.Errorf("the node with its NIC in the bridge: %v", err)
		}
	}
	if err := attachments(t.Context(), l.Nodes[0], 1); err != nil {
		t.Error(err)
	}
	shows(t, l, c)
}
