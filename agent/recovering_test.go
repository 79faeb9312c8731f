package agent

import (
	"strings"
	"testing"
)

func TestTheMetricsShowThatTheClusterRecovers(t *testing.T) {
	r := newRig(t)
	r.brief()
	shown := func(series string) bool {
		_, body := get(t, "http://"+r.webAddress()+"/metrics")
		return strings.Contains(body, "\n"+series+"\n")
	}
	if !shown("berth_recovering 0") {
		t.Error("the metrics do not show that nothing recovers")
	}
	r.restored(func() {})
	r.until("the metrics show it", func() bool { return shown("berth_recovering 1") })
}
