package doctor

import (
	"slices"
	"strings"
	"testing"
)

func TestNobodyIsAskedToSettleWhileARecordIsInTheWay(t *testing.T) {
	l := newLab(t)
	l.has("n1", "a", "10.42.64.9")
	l.del("assignments/default/10.42.64.9")
	l.put("config/pools/other", "{")
	l.put("status/ghost", "{}")
	if f := l.finds(ContainerUnassigned, RecordUnreadable, StatusUnknown)[0]; f.Fix || !strings.Contains(f.Mend, "first mend the records") {
		t.Errorf("it is told as %+v", f)
	}
	l.fixes(ContainerUnassigned, RecordUnreadable)
	if len(l.mended) > 0 {
		t.Errorf("%q were asked to settle, and could not have", l.mended)
	}
}

func TestRecordsThatASettlingNodePassesOverAreNotInTheWay(t *testing.T) {
	l := newLab(t)
	l.has("n1", "a", "10.42.64.9")
	l.del("assignments/default/10.42.64.9")
	l.put("blocks/default/10.42.90.0", "{")
	l.put("reservations/default/10.42.3.9", "{")
	l.put("nodes/other", "{")
	l.put("nonsense", "{}") // nobody reads it
	for _, f := range l.fixes(ContainerUnassigned, KeyUnreadable, RecordUnreadable, RecordUnreadable, RecordUnreadable).Findings {
		if strings.Contains(f.Cause, "lease:") || f.Kind == RecordUnreadable && !strings.Contains(f.Mend, "etcdctl del '"+f.Key+"'") {
			t.Errorf("it is told as %+v", f)
		}
	}
	if !slices.Contains(l.mended, "n1") {
		t.Errorf("asked to settle were %q, want n1", l.mended)
	}
}
