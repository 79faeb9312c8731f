package metrics_test

import (
	"fmt"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/berth-ipam/berth/metrics"
)

// Counters are told when something happens; gauges are asked of the agent at a scrape.
func Example() {
	registry := prometheus.NewRegistry()
	metrics.New(registry, "v1.0.0", func() metrics.Snapshot {
		return metrics.Snapshot{Attachments: map[string]int{"stateless": 3}}
	})
	families, err := registry.Gather()
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, f := range families {
		if f.GetName() == "berth_attachments" {
			fmt.Println(f.GetMetric()[0].GetLabel()[0].GetValue(), f.GetMetric()[0].GetGauge().GetValue())
		}
	}
	// Output: stateless 3
}
