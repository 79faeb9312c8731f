// Package metrics holds every series that the agent shows to Prometheus.
package metrics

import (
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// A Snapshot is what the agent holds at the moment of a scrape.
type Snapshot struct {
	Pools       []Pool
	Attachments map[string]int           // by class
	Rights      map[string]time.Duration // what is left of each class's right; 0 or less: nothing
	Backlog     int                      // changes of assignments that etcd has not yet
	Isolated    int                      // containers
	Recovering  bool                     // etcd was restored, and nothing new is given yet
	Waiting     int                      // ADDs, for an address
	Revision    int64                    // the configuration's, as known on this node
	Applied     int64                    // the one that this node's containers have
	Live        int64                    // the one that they have as far as running containers can get it
	Outdated    int                      // containers that must be made anew for the rest
	Journal     int64                    // bytes
	Findings    map[string]int           // that stand on this node, by kind
}

// A Pool is what the node owns of one family of a pool.
type Pool struct {
	Name, Family string
	Blocks       int
	Addresses    map[string]int // by state
}

// Metrics counts what happens. Its gauges are read from the agent's Snapshot at each scrape, so none can be stale.
type Metrics struct {
	snapshot func() Snapshot

	requests    *prometheus.CounterVec
	durations   *prometheus.HistogramVec
	allocations *prometheus.CounterVec
	collected   *prometheus.CounterVec
	transfers   *prometheus.CounterVec

	transactions *prometheus.HistogramVec
	conflicts    *prometheus.CounterVec
	errors       *prometheus.CounterVec
}

// buckets are bounds in seconds: from what a request without etcd takes to where the runtime gives up.
var buckets = []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10}

// verbs are those that are counted by name. The name comes from outside; any other is "other".
var verbs = []string{"ADD", "DEL", "CHECK", "GC", "STATUS", "VERSION", "read", "insert", "delete", "status", "gc"}

var (
	addresses = describe("berth_addresses", "Addresses that this node owns, by state: free, released, quarantined, held or excluded.",
		"pool", "family", "state")
	blocks      = describe("berth_blocks", "Blocks of which this node owns at least a part.", "pool", "family")
	attachments = describe("berth_attachments", "Container interfaces that have an address on this node.", "class")
	rights      = describe("berth_right_remaining_seconds",
		"Time for which this node may still allocate and use addresses without hearing from etcd.", "class")
	backlog = describe("berth_publish_backlog", "Changes of assignments that are not in etcd yet.")
	waiting = describe("berth_waiting_requests",
		"Requests that wait for an address because this node has none and every one of the pool has an owner.")
	isolated   = describe("berth_isolated_containers", "Containers cut off because their address is another's now.")
	recovering = describe("berth_recovering",
		"1 while the cluster recovers from a restore of etcd and this node is given nothing new, else 0.")
	revision = describe("berth_configuration_revision", "Configuration revision of the cluster that this node knows.")
	applied  = describe("berth_configuration_applied_revision", "Configuration revision that all containers of this node have.")
	found    = describe("berth_findings",
		"Findings that stand on this node, by kind: berthctl status and /readyz say what each is about and what to do.", "kind")
	live = describe("berth_configuration_live_revision",
		"Configuration revision that all containers of this node have as far as a running container can get it.")
	outdated = describe("berth_outdated_containers",
		"Containers that must be made anew, because they lack a change that only new containers get.")
	journal = describe("berth_journal_bytes", "Size of the journal.")
)

func describe(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc(name, help, labels, nil)
}

// New registers all series, those of the Go runtime and the process with them. snapshot is called at each scrape,
// from any goroutine.
func New(r prometheus.Registerer, version string, snapshot func() Snapshot) *Metrics {
	m := &Metrics{
		snapshot:  snapshot,
		requests:  counter("berth_requests_total", "Requests answered, by verb and result: ok, or the CNI error code.", "verb", "result"),
		durations: histogram("berth_request_duration_seconds", "Time from a request's arrival to its answer.", "verb"),
		allocations: counter("berth_allocations_total",
			"Addresses given, by class and source: owned, claimed with a block for this request, reused by the same app, or reserved.", "class",
			"source"),
		collected: counter("berth_garbage_collected_total",
			"Attachments cleaned up without a DEL, by the evidence that the container was gone.", "evidence"),
		transfers: counter("berth_gifts_total",
			"Parts of blocks that changed hands because a node had no address left, by direction: given or received.", "direction"),

		transactions: histogram("berth_etcd_transaction_duration_seconds", "Time that etcd took for a transaction, by operation.", "operation"),
		conflicts:    counter("berth_etcd_conflicts_total", "Transactions refused because another had changed what they compared.", "operation"),
		errors:       counter("berth_etcd_errors_total", "Transactions that failed, or whose answer was lost.", "operation"),
	}
	build := prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "berth_build_info", Help: "The program's version and that of the Go it was built with; always 1.",
		ConstLabels: prometheus.Labels{"version": version, "goversion": runtime.Version()},
	})
	build.Set(1)
	r.MustRegister(m, build, m.requests, m.durations, m.allocations, m.collected, m.transfers, m.transactions, m.conflicts, m.errors,
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

func counter(name, help string, labels ...string) *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
}

func histogram(name, help string, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, labels)
}

// Request counts an answered request. The code is that of its CNI error; 0: none.
func (m *Metrics) Request(verb string, code int, took time.Duration) {
	if !slices.Contains(verbs, verb) {
		verb = "other"
	}
	result := "ok"
	if code != 0 {
		result = strconv.Itoa(code)
	}
	m.requests.WithLabelValues(verb, result).Inc()
	m.durations.WithLabelValues(verb).Observe(took.Seconds())
}

// Allocated counts an address that was given: source is owned, claimed, reused or reserved.
func (m *Metrics) Allocated(class, source string) { m.allocations.WithLabelValues(class, source).Inc() }

// Collected counts an attachment that was cleaned up without a DEL.
func (m *Metrics) Collected(evidence string) { m.collected.WithLabelValues(evidence).Inc() }

// Transfer counts the transfers of addresses between nodes, on demand: given or received.
func (m *Metrics) Transfer(direction string) { m.transfers.WithLabelValues(direction).Inc() }

// Transaction counts a transaction of etcd: conflict says that a compare failed, err that there was no answer.
func (m *Metrics) Transaction(operation string, took time.Duration, conflict bool, err error) {
	m.transactions.WithLabelValues(operation).Observe(took.Seconds())
	if conflict {
		m.conflicts.WithLabelValues(operation).Inc()
	}
	if err != nil {
		m.errors.WithLabelValues(operation).Inc()
	}
}

// Describe is for Prometheus' registry.
func (m *Metrics) Describe(c chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{addresses, blocks, attachments, rights, backlog, waiting, isolated, recovering, revision, applied,
		live, outdated, found, journal} {
		c <- d
	}
}

// Collect is for Prometheus' registry.
func (m *Metrics) Collect(c chan<- prometheus.Metric) {
	gauge := func(d *prometheus.Desc, value float64, labels ...string) {
		c <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	s := m.snapshot()
	for _, p := range s.Pools {
		gauge(blocks, float64(p.Blocks), p.Name, p.Family)
		for state, n := range p.Addresses {
			gauge(addresses, float64(n), p.Name, p.Family, state)
		}
	}
	for class, n := range s.Attachments {
		gauge(attachments, float64(n), class)
	}
	for class, left := range s.Rights {
		gauge(rights, max(0, left).Seconds(), class)
	}
	gauge(backlog, float64(s.Backlog))
	gauge(waiting, float64(s.Waiting))
	gauge(isolated, float64(s.Isolated))
	gauge(recovering, oneIf(s.Recovering))
	gauge(revision, float64(s.Revision))
	gauge(applied, float64(s.Applied))
	for kind, n := range s.Findings {
		gauge(found, float64(n), kind)
	}
	gauge(live, float64(s.Live))
	gauge(outdated, float64(s.Outdated))
	gauge(journal, float64(s.Journal))
}

func oneIf(b bool) float64 {
	if b {
		return 1
	}
	return 0
}
