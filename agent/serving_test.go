package agent

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/wire"
)

func TestAnAddAndAStatusWaitForAnAgentThatHasJustStarted(t *testing.T) {
	r := newRig(t)
	r.stop()
	r.etcd.Stop()
	r.begin() // it can settle nothing yet
	ended := make(chan error, 2)
	c := r.stateless("a", "web")
	go func() { _, err := r.ask(wire.Insert, c); ended <- err }()
	go func() {
		_, err := r.send(&wire.Request{Operation: wire.Status, Started: int64(clock.Boottime())})
		ended <- err
	}()
	r.until("both are there", func() bool { return r.agent.Locks.Count() == 0 && r.agent.WhyNotReady() != "" })
	r.startEtcd()
	for range 2 {
		if err := <-ended; err != nil {
			t.Errorf("a caller that was a second too early is told: %v", err)
		}
	}
}

func TestACallerIsToldWhatTheAgentWaitsForWhenItsPatienceIsOver(t *testing.T) {
	r := newRig(t)
	r.stop()
	r.etcd.Stop()
	r.begin()
	early := int64(clock.Boottime() - 5*time.Second + 100*time.Millisecond) // it has waited for the socket already
	for operation, code := range map[string]int{wire.Insert: wire.CodeTryAgain, wire.Status: wire.CodeUnavailable} {
		q := &wire.Request{Operation: operation, Started: early}
		if operation == wire.Insert {
			q.Containers = []wire.Container{r.stateless("a", "web")}
		}
		_, err := r.send(q)
		if err == nil || wire.AsError(err).Code != code || !strings.Contains(err.Error(), "etcd") {
			t.Errorf("%s: %v, want code %d and that etcd is waited for", operation, err, code)
		}
	}
	r.startEtcd()
}

func TestAPoolThatApplyHasJustAnsweredIsKnownToAnAgentWhoseWatchLags(t *testing.T) {
	r := newRig(t)
	leave := inside(r.agent.Gate.Shared) // the watch's news waits for it
	r.apply(allocator.Pool{Name: "fresh", CIDRs: prefixes("10.77.0.0/24")})
	config, err := r.store.Config.Read(t.Context())
	check(t, err)
	got := make(chan error, 1)
	go func() { _, _, err := r.agent.PoolNow(t.Context(), "fresh"); got <- err }()
	leave()
	check(t, <-got)
	if c := r.agent.Config(); c.Revision < config.Revision {
		t.Errorf("revision %d is known: want %d", c.Revision, config.Revision)
	}
	if _, _, err := r.agent.PoolNow(t.Context(), "nosuch"); err == nil || wire.AsError(err).Code != wire.CodeConfig {
		t.Errorf("of a pool that there is not it says: %v", err)
	}
	r.etcd.Stop()
	defer r.startEtcd()
	if _, _, err := r.agent.PoolNow(t.Context(), "nosuch"); err == nil || wire.AsError(err).Code != wire.CodeTryAgain {
		t.Errorf("while etcd is away it says of a pool that it does not know: %v, want that it cannot be asked", err)
	}
}
