package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/client"
	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

func TestAThousandOfEachClassTakeFewTransactions(t *testing.T) {
	l := newLab(t, 1, onePool)
	node := l.Nodes[0]
	agent := client.New(node.Socket())
	before := transactions(t, node)
	for _, class := range []string{"stateless", "stateful"} {
		set := make([]client.Container, client.MaxSet)
		for i := range set {
			set[i] = client.Container{
				ID: fmt.Sprintf("%s-%d", class, i), Network: "many", Interface: "eth0", Role: "ipam", Class: class,
				Namespace: "shop", App: "many-" + class, Member: fmt.Sprint("m-", i), Pool: "default",
			}
		}
		began := time.Now()
		results, err := agent.Insert(t.Context(), set, client.InsertOptions{})
		if err != nil || len(results) != len(set) {
			t.Fatalf("%d results, error %v", len(results), err)
		}
		t.Logf("%d %s containers in %s", len(set), class, time.Since(began).Round(time.Millisecond))
	}
	labtest.Eventually(t, "all are published", func() error {
		backlog, err := node.Metric(t.Context(), "berth_publish_backlog")
		if err == nil && backlog != 0 {
			err = fmt.Errorf("%v are not", backlog)
		}
		return err
	})
	n := transactions(t, node) - before
	t.Logf("%d etcd transactions", n)
	if n > 60 {
		t.Errorf("%d transactions: want at most 60", n)
	}
}

// transactions counts those of a node that may have changed something: not the proofs of its session.
func transactions(t *testing.T, node *lab.Node) (n int) {
	t.Helper()
	_, body, err := node.HTTP(t.Context(), "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(body) {
		var count int
		if !strings.HasPrefix(line, "berth_etcd_transaction_duration_seconds_count") || strings.Contains(line, "prove") {
			continue
		}
		if _, err := fmt.Sscan(line[strings.LastIndexByte(line, ' ')+1:], &count); err != nil {
			t.Fatal(err)
		}
		n += count
	}
	return n
}
