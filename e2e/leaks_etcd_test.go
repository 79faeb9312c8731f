package e2e

import (
	"context"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

func TestAMemberGoneWithoutDELWhileEtcdIsAwayCanStartElsewhere(t *testing.T) {
	l := newLab(t, 2, onePool)
	c := member(t, l.Nodes[0], l, "db-0")
	had := add(t, c)
	if err := l.Etcd.Halt(); err != nil {
		t.Fatal(err)
	}
	if err := c.Remove(); err != nil {
		t.Fatal(err)
	}
	holds(t, l.Nodes[0], 0)
	if err := l.Etcd.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	moved := member(t, l.Nodes[1], l, "db-0")
	labtest.Eventually(t, "the member starts on another node", func() error {
		_, err := moved.Add(t.Context())
		return err
	})
	t.Logf("it started elsewhere %v after etcd", time.Since(began).Round(time.Millisecond))
	if moved.Address != had {
		t.Errorf("the member has %v: want %v", moved.Address, had)
	}
}

// TestWhatOnlyEtcdSaysIsThereComesBackWithTheNextSettling writes what no transaction of Berth's leaves: an assignment that
// has no container, and a reservation attached to one that is not there.
func TestWhatOnlyEtcdSaysIsThereComesBackWithTheNextSettling(t *testing.T) {
	l := newLab(t, 2, onePool)
	node := l.Nodes[0]
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{l.Etcd.Endpoint()}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	stays, c := container(t, node, l), member(t, node, l, "db-0")
	beside, had := add(t, stays).Next(), add(t, c)
	shows(t, l, stays)
	ghost := func(prefix string, from, to netip.Addr) (key, value string) {
		found, err := l.Etcd.Get(t.Context(), prefix+from.String())
		if err != nil || found[prefix+from.String()] == "" {
			t.Fatalf("%s%v is not in etcd: %v", prefix, from, err)
		}
		var record map[string]any
		if err := json.Unmarshal([]byte(found[prefix+from.String()]), &record); err != nil {
			t.Fatal(err)
		}
		if epoch, has := record["epoch"].(float64); has {
			record["epoch"] = epoch + 7
		}
		text, _ := json.Marshal(record) // of what was JSON
		return prefix + to.String(), strings.NewReplacer(`"`+stays.ID+`"`, `"ghost"`, `"`+c.ID+`"`, `"ghost"`).Replace(string(text))
	}
	assignment, assigned := ghost("/berth/v1/assignments/default/", stays.Address, beside)
	reservation, attached := ghost("/berth/v1/reservations/default/", had, had)
	del(t, c)
	if err := node.Stop(); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{assignment: assigned, reservation: attached} {
		if _, err := client.Put(context.WithoutCancel(t.Context()), key, value); err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	if err := node.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	shows(t, l, stays)
	moved := member(t, l.Nodes[1], l, "db-0")
	labtest.Eventually(t, "the member starts on another node", func() error {
		_, err := moved.Add(t.Context())
		return err
	})
	t.Logf("both are back %v after the agent's start", time.Since(began).Round(time.Millisecond))
	if moved.Address != had {
		t.Errorf("the member has %v: want %v", moved.Address, had)
	}
	inPlace(t, stays)
}
