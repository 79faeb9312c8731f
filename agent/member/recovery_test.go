package member

import (
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/session"
)

func TestTheTimeOfARecoveryDoesNotBeginWithoutAConfigurationAndBeginsAnewWithEachIncarnation(t *testing.T) {
	rights := map[allocator.Class]time.Duration{allocator.Stateless: time.Minute}
	var r recovery
	at := session.ClusterState{Cluster: "c", Incarnation: 1}
	long := func() { r.Began = time.Now().Add(-time.Hour) }
	r.left(at, rights, true)
	for _, step := range []struct {
		what       string
		at         session.ClusterState
		configured bool
		over       bool
	}{
		{"after an hour", at, true, true},
		{"after an hour without a configuration", at, false, false},
		{"in another life", session.ClusterState{Cluster: "c", Incarnation: 2}, true, false},
		{"with another etcd", session.ClusterState{Cluster: "d", Incarnation: 2}, true, false},
	} {
		long()
		if left, _ := r.left(step.at, rights, step.configured); (left <= 0) != step.over || r.over(allocator.Stateless) != step.over {
			t.Errorf("%s it lasts %s yet", step.what, left)
		}
	}
}

func TestARecoveryIsNotOverWhileNoRightIsKnown(t *testing.T) {
	var r recovery
	at := session.ClusterState{Cluster: "c", Incarnation: 1}
	for _, rights := range []map[allocator.Class]time.Duration{nil, {allocator.Stateless: 0, allocator.Stateful: 0}} {
		for range 2 {
			if _, begun := r.left(at, rights, true); begun || r.over(allocator.Stateless) {
				t.Errorf("with the rights %v its time has begun: %v, and the class is over: %v", rights, begun, r.over(allocator.Stateless))
			}
			r.Began = time.Now().Add(-time.Hour)
		}
	}
	known := map[allocator.Class]time.Duration{allocator.Stateless: time.Minute}
	r.left(at, known, true)
	r.Began = time.Now().Add(-time.Hour)
	if left, begun := r.left(at, known, true); !begun || left > 0 {
		t.Errorf("an hour after it began, with a right of a minute, %s of it is left", left)
	}
}
