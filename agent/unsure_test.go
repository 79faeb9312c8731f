package agent

import (
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// spoils damages a record while the agent is away, and has etcd forget what it was; it returns that.
func (r *rig) spoils(key string) (was string) {
	r.t.Helper()
	r.stop()
	got, err := r.etcdctl().Get(r.t.Context(), "/berth/v1/"+key)
	check(r.t, err)
	if len(got.Kvs) != 1 {
		r.t.Fatalf("there is no %s", key)
	}
	damaged, err := r.etcdctl().Put(r.t.Context(), "/berth/v1/"+key, "{")
	check(r.t, err)
	_, err = r.etcdctl().Compact(r.t.Context(), damaged.Header.Revision, clientv3.WithCompactPhysical())
	check(r.t, err)
	return string(got.Kvs[0].Value)
}

func TestInStrictModeAContainerStaysCutWhoseRecordCannotBeReadUntilItIsRepaired(t *testing.T) {
	r := newRig(t)
	member, plain := r.stateful("a", "db", "db-0"), r.stateless("b", "web")
	reserved, given := r.add(member), r.add(plain)
	ports := map[string]string{}
	for _, e := range r.agent.Journal.Entries() {
		ports[e.Attachment.Container] = e.Wiring.Port
	}
	pool := r.pool()
	r.strict(10*time.Second, time.Minute)
	for id, key := range map[string]string{"a": "reservations/default/" + reserved.String(),
		"b": "blocks/default/" + pool.BlockOf(given).Addr().String()} {
		was := r.spoils(key)
		r.start()
		for other, port := range ports {
			if r.passes(port) == (other == id) {
				t.Errorf("with %s damaged, %s passes: %v", key, other, r.passes(port))
			}
		}
		if !r.found("container-cut") || r.finding("record-damaged", "/berth/v1/"+key) == "" {
			t.Errorf("with %s damaged: told that it is cut: %v; of the record: %q", key, r.found("container-cut"),
				r.finding("record-damaged", "/berth/v1/"+key))
		}
		if n := r.agent.Journal.Isolated(); n != 0 {
			t.Errorf("%d are isolated: etcd names nobody else", n)
		}
		r.put(key, was)
		r.until("it passes again", func() bool { return r.passes(ports[id]) && !r.found("container-cut") })
	}
}

func TestInTheModeOfEvidenceAContainerGoesOnWhoseRecordCannotBeRead(t *testing.T) {
	r := newRig(t)
	reserved := r.add(r.stateful("a", "db", "db-0"))
	port := r.agent.Journal.Entries()[0].Wiring.Port
	r.spoils("reservations/default/" + reserved.String())
	r.start()
	if !r.passes(port) || r.found("container-cut") {
		t.Errorf("it passes: %v; told that it is cut: %v", r.passes(port), r.found("container-cut"))
	}
}
