package agent

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// status asks for CNI STATUS of a pool as a plugin does; "": it is well.
func (r *rig) status(pool, role string) string {
	r.t.Helper()
	response, err := r.send(&wire.Request{Operation: wire.Status, Verb: "STATUS", Started: int64(clock.Boottime()), Pool: pool, Role: role})
	if err == nil {
		return ""
	}
	if e := wire.AsError(err); e.Code != wire.CodeUnavailable {
		r.t.Errorf("STATUS fails with code %d: want %d, or none", e.Code, wire.CodeUnavailable)
	}
	_ = response
	return err.Error()
}

// crowdedOut applies a pool whose addresses all have a container, but for what is asked for in vain.
func (r *rig) crowdedOut(settings func(*record.Settings)) {
	r.t.Helper()
	r.change(func(c *config.Config) {
		c.Pools["tiny"] = allocator.Pool{Name: "tiny", CIDRs: prefixes("10.43.0.0/29"), BlockSize: allocator.BlockSize{V4: 29}}.WithDefaults()
		settings(&c.Settings)
	})
	for i := range 6 {
		c := r.stateless("tiny-"+string(rune('a'+i)), "")
		c.Pool, c.Role = "tiny", wire.IPAM
		r.add(c)
	}
	c := r.stateless("tiny-late", "")
	c.Pool, c.Role = "tiny", wire.IPAM
	if refusal := r.refused(wire.CodeTryAgain, c); !strings.Contains(refusal.Error(), "exhausted") {
		r.t.Fatalf("the pool is not full: %v", refusal)
	}
}

func TestNeitherAFullPoolNorAnIsolatedContainerMakesStatusFail(t *testing.T) {
	r := newRig(t)
	r.crowdedOut(func(*record.Settings) {})
	r.add(r.stateless("a", "web"))
	for _, e := range r.agent.Journal.Entries() {
		r.agent.isolator.Isolate(e.Attachment, func(*journal.Entry) *journal.Isolation {
			return &journal.Isolation{Epoch: journal.Never, Reason: "its address is another's"}
		})
	}
	for _, pool := range []string{"tiny", "default", ""} {
		if why := r.status(pool, wire.Interface); why != "" {
			t.Errorf("STATUS of pool %q fails, and takes the whole node out of service: %s", pool, why)
		}
	}
}

func TestStatusFailsForAFullPoolWhereTheSettingsWantIt(t *testing.T) {
	r := newRig(t)
	r.crowdedOut(func(s *record.Settings) { s.StatusExhausted = true })
	if why := r.status("tiny", wire.Interface); !strings.Contains(why, "in vain") {
		t.Errorf("STATUS says %q after an ADD has waited its whole time in vain", why)
	}
	if why := r.status("default", wire.Interface); why != "" {
		t.Errorf("STATUS of another pool fails: %s", why)
	}
	gone := r.stateless("tiny-a", "")
	gone.Pool, gone.Role = "tiny", wire.IPAM
	r.del(gone)
	if why := r.status("tiny", wire.Interface); why != "" {
		t.Errorf("STATUS fails, and an address has just become free: %s", why)
	}
	next := r.stateless("tiny-next", "")
	next.Pool, next.Role = "tiny", wire.IPAM
	r.add(next)
	if why := r.status("tiny", wire.Interface); why != "" {
		t.Errorf("STATUS fails, and an ADD has just been served: %s", why)
	}
}

func TestStatusAndReadyzSayWhichClassHasNotBeenServedForLong(t *testing.T) {
	r := newRig(t)
	r.stop()
	r.open() // what does not run is not proven again
	a := r.agent
	config, err := r.store.Config.Read(t.Context())
	check(t, err)
	a.Configure(config)
	a.Ready()
	ctx, stop := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- a.web.Serve(ctx) }()
	defer func() { stop(); check(t, <-served) }()
	for _, c := range []struct {
		ago, session, addressLease time.Duration
		says                       string
	}{
		{ago: 0, session: 2 * time.Second, addressLease: time.Hour},
		{ago: 30 * time.Second, session: 2 * time.Second, addressLease: time.Hour}, // etcd may only have lost its leader
		{ago: 2 * time.Minute, session: 2 * time.Second, addressLease: time.Hour, says: "no stateful"},
		{ago: 2 * time.Minute, session: 2 * time.Second, addressLease: time.Minute, says: "stateless or stateful"},
	} {
		a.Rights = session.NewRights(clock.Boottime)
		a.Rights.Prove(clock.Boottime()-c.ago, c.session, c.addressLease)
		err := a.reporter.StatusOf(t.Context(), &wire.Request{Operation: wire.Status})
		code, body := r.readyz()
		if c.says == "" {
			if err != nil || code != http.StatusOK {
				t.Errorf("proven %s ago: STATUS says %v, /readyz %d %s", c.ago, err, code, body)
			}
			continue
		}
		if err == nil || !strings.Contains(err.Error(), c.says) || code != http.StatusServiceUnavailable || !strings.Contains(body, c.says) {
			t.Errorf("proven %s ago: STATUS says %v, /readyz %d %s: want both to say %q", c.ago, err, code, body, c.says)
		}
	}
}

func TestStatusOfAnIPAMNetworkFailsWhereStrictFencingRefusesEachAdd(t *testing.T) {
	r := newRig(t)
	r.brief(func(c *config.Config) { c.Settings.Fencing = record.FencingStrict })
	r.until("STATUS says why", func() bool { return strings.Contains(r.status("default", wire.IPAM), "strict") })
	if why := r.status("default", wire.Interface); why != "" {
		t.Errorf("STATUS of a network whose interfaces are ours fails: %s", why)
	}
}

func TestAConfigurationThatCannotBeReadIsReportedByStatusAndReadyz(t *testing.T) {
	r := newRig(t)
	r.agent.ConfigRead(errors.New("no answer makes sense"))
	if why := r.status("default", wire.Interface); !strings.Contains(why, "no answer makes sense") {
		t.Errorf("STATUS says %q", why)
	}
	if code, body := r.readyz(); code != http.StatusServiceUnavailable || !strings.Contains(body, "configuration-unreadable") {
		t.Errorf("/readyz says %d %s", code, body)
	}
	r.agent.ConfigRead(nil)
	if why := r.status("default", wire.Interface); why != "" {
		t.Errorf("it can be read again, and STATUS says %q", why)
	}
}

func TestADamagedRecordOfTheConfigurationIsReportedAndKeepsNobodyFromStarting(t *testing.T) {
	r := newRig(t)
	revision, err := r.etcdctl().Get(t.Context(), "/berth/v1/config/revision")
	check(t, err)
	_, err = r.etcdctl().Put(t.Context(), "/berth/v1/config/revision", "nonsense")
	check(t, err)
	r.until("/readyz names it", func() bool { _, body := r.readyz(); return strings.Contains(body, "config/revision") })
	if code, body := r.readyz(); code != http.StatusOK || r.status("default", wire.Interface) != "" {
		t.Errorf("/readyz says %d %s, STATUS %q: what the history tells is enough", code, body, r.status("default", wire.Interface))
	}
	r.add(r.stateless("a", "web"))
	_, err = r.etcdctl().Put(t.Context(), "/berth/v1/config/revision", string(revision.Kvs[0].Value))
	check(t, err)
	r.until("nothing is wrong any more", func() bool { _, body := r.readyz(); return !strings.Contains(body, "config/revision") })
}
