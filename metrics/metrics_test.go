package metrics

import (
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestEverySeriesIsShown(t *testing.T) {
	registry := full()
	want := `
# HELP berth_addresses Addresses that this node owns, by state: free, released, quarantined, held or excluded.
# TYPE berth_addresses gauge
berth_addresses{family="v4",pool="default",state="free"} 61
berth_addresses{family="v4",pool="default",state="held"} 3
# HELP berth_allocations_total Addresses given, by class and source: owned, claimed with a block for this request, reused by the same app, or reserved.
# TYPE berth_allocations_total counter
berth_allocations_total{class="stateful",source="reserved"} 1
berth_allocations_total{class="stateless",source="owned"} 2
# HELP berth_attachments Container interfaces that have an address on this node.
# TYPE berth_attachments gauge
berth_attachments{class="stateful"} 1
berth_attachments{class="stateless"} 2
# HELP berth_blocks Blocks of which this node owns at least a part.
# TYPE berth_blocks gauge
berth_blocks{family="v4",pool="default"} 1
# HELP berth_configuration_applied_revision Configuration revision that all containers of this node have.
# TYPE berth_configuration_applied_revision gauge
berth_configuration_applied_revision 7
# HELP berth_configuration_live_revision Configuration revision that all containers of this node have as far as a running container can get it.
# TYPE berth_configuration_live_revision gauge
berth_configuration_live_revision 8
# HELP berth_configuration_revision Configuration revision of the cluster that this node knows.
# TYPE berth_configuration_revision gauge
berth_configuration_revision 9
# HELP berth_etcd_conflicts_total Transactions refused because another had changed what they compared.
# TYPE berth_etcd_conflicts_total counter
berth_etcd_conflicts_total{operation="claim"} 1
# HELP berth_etcd_errors_total Transactions that failed, or whose answer was lost.
# TYPE berth_etcd_errors_total counter
berth_etcd_errors_total{operation="publish"} 1
# HELP berth_garbage_collected_total Attachments cleaned up without a DEL, by the evidence that the container was gone.
# TYPE berth_garbage_collected_total counter
berth_garbage_collected_total{evidence="gc"} 1
# HELP berth_findings Findings that stand on this node, by kind: berthctl status and /readyz say what each is about and what to do.
# TYPE berth_findings gauge
berth_findings{kind="bridge-gone"} 1
berth_findings{kind="record-damaged"} 0
# HELP berth_gifts_total Parts of blocks that changed hands because a node had no address left, by direction: given or received.
# TYPE berth_gifts_total counter
berth_gifts_total{direction="given"} 1
berth_gifts_total{direction="received"} 2
# HELP berth_isolated_containers Containers cut off because their address is another's now.
# TYPE berth_isolated_containers gauge
berth_isolated_containers 1
# HELP berth_journal_bytes Size of the journal.
# TYPE berth_journal_bytes gauge
berth_journal_bytes 4096
# HELP berth_outdated_containers Containers that must be made anew, because they lack a change that only new containers get.
# TYPE berth_outdated_containers gauge
berth_outdated_containers 3
# HELP berth_publish_backlog Changes of assignments that are not in etcd yet.
# TYPE berth_publish_backlog gauge
berth_publish_backlog 5
# HELP berth_recovering 1 while the cluster recovers from a restore of etcd and this node is given nothing new, else 0.
# TYPE berth_recovering gauge
berth_recovering 1
# HELP berth_requests_total Requests answered, by verb and result: ok, or the CNI error code.
# TYPE berth_requests_total counter
berth_requests_total{result="11",verb="ADD"} 1
berth_requests_total{result="ok",verb="ADD"} 1
berth_requests_total{result="100",verb="other"} 1
# HELP berth_right_remaining_seconds Time for which this node may still allocate and use addresses without hearing from etcd.
# TYPE berth_right_remaining_seconds gauge
berth_right_remaining_seconds{class="stateful"} 0
berth_right_remaining_seconds{class="stateless"} 3600
# HELP berth_waiting_requests Requests that wait for an address because this node has none and every one of the pool has an owner.
# TYPE berth_waiting_requests gauge
berth_waiting_requests 2
`
	names := []string{
		"berth_addresses", "berth_allocations_total", "berth_attachments", "berth_blocks",
		"berth_configuration_applied_revision", "berth_configuration_live_revision", "berth_configuration_revision", "berth_etcd_conflicts_total",
		"berth_etcd_errors_total", "berth_findings", "berth_garbage_collected_total", "berth_gifts_total", "berth_isolated_containers",
		"berth_journal_bytes",
		"berth_outdated_containers", "berth_publish_backlog", "berth_requests_total", "berth_right_remaining_seconds", "berth_waiting_requests",
	}
	if err := testutil.GatherAndCompare(registry, strings.NewReader(want), names...); err != nil {
		t.Error(err)
	}
	for name, series := range map[string]int{
		"berth_request_duration_seconds":          2, // ADD and other
		"berth_etcd_transaction_duration_seconds": 2, // claim and publish
		"berth_build_info":                        1,
	} {
		if n, err := testutil.GatherAndCount(registry, name); err != nil || n != series {
			t.Errorf("%s has %d series, error %v, want %d", name, n, err, series)
		}
	}
}

func TestAGaugeIsReadAtEachScrape(t *testing.T) {
	held := 0
	registry := prometheus.NewRegistry()
	New(registry, "v0", func() Snapshot { return Snapshot{Isolated: held} })
	for held = range 3 {
		want := strings.NewReader("# HELP berth_isolated_containers Containers cut off because their address is another's now.\n" +
			"# TYPE berth_isolated_containers gauge\nberth_isolated_containers " + strconv.Itoa(held) + "\n")
		if err := testutil.GatherAndCompare(registry, want, "berth_isolated_containers"); err != nil {
			t.Fatal(err)
		}
	}
}

// The rules are promtool's: it links the same package.
func TestTheSeriesFollowPrometheusNamingRules(t *testing.T) {
	registry := full()
	problems, err := testutil.GatherAndLint(registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// full has at least one series of each name.
func full() *prometheus.Registry {
	registry := prometheus.NewRegistry()
	m := New(registry, "v1.2.3", func() Snapshot {
		return Snapshot{
			Pools:       []Pool{{Name: "default", Family: "v4", Blocks: 1, Addresses: map[string]int{"free": 61, "held": 3}}},
			Attachments: map[string]int{"stateful": 1, "stateless": 2},
			Rights:      map[string]time.Duration{"stateful": -time.Second, "stateless": time.Hour},
			Backlog:     5, Isolated: 1, Recovering: true, Waiting: 2, Revision: 9, Applied: 7, Live: 8, Outdated: 3, Journal: 4096,
			Findings: map[string]int{"bridge-gone": 1, "record-damaged": 0},
		}
	})
	m.Request("ADD", 0, 3*time.Millisecond)
	m.Request("ADD", 11, time.Millisecond)
	m.Request("made up by a program", 100, time.Millisecond)
	m.Allocated("stateless", "owned")
	m.Allocated("stateless", "owned")
	m.Allocated("stateful", "reserved")
	m.Collected("gc")
	m.Transfer("given")
	m.Transfer("received")
	m.Transfer("received")
	m.Transaction("claim", time.Millisecond, true, nil)
	m.Transaction("publish", time.Millisecond, false, errors.New("etcd is away"))
	return registry
}
