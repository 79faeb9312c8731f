package agent

import (
	"net/netip"
	"testing"

	"github.com/berth-ipam/berth/allocator"
)

func TestAClaimGoesOnToTheNextBlockWhereARecordIsDamaged(t *testing.T) {
	r := newRig(t)
	for _, block := range []string{"10.43.0.0", "10.43.0.64", "10.43.0.192"} {
		r.put("blocks/tiny/"+block, "{")
	}
	r.apply(allocator.Pool{Name: "tiny", CIDRs: prefixes("10.43.0.0/24")})
	r.until("the agent knows the pool", func() bool { _, _, err := r.agent.Pool("tiny"); return err == nil })
	addr := r.add(r.ofTiny("a"))
	if !netip.MustParsePrefix("10.43.0.128/26").Contains(addr) {
		t.Errorf("it got %s, of a block whose record cannot be read", addr)
	}
	for _, block := range []string{"10.43.0.0", "10.43.0.64", "10.43.0.192"} {
		key := "blocks/tiny/" + block
		r.until("it is told", func() bool { return r.finding("record-damaged", "/berth/v1/"+key) != "" })
		r.put(key, "")
		r.until("it is told no more", func() bool { return r.finding("record-damaged", "/berth/v1/"+key) == "" })
	}
}

func TestAMemberWhoseFirstChoiceHasADamagedRecordGetsTheNextAddress(t *testing.T) {
	r := newRig(t)
	c := r.stateful("a", "db", "db-0")
	first := r.add(c)
	r.del(c)
	key := "reservations/default/" + first.String()
	r.stop()
	_, err := r.etcdctl().Delete(t.Context(), "/berth/v1/identities/", withPrefix) // so that it is a new member
	check(t, err)
	r.put(key, "")
	r.put(key, "{") // and nothing tells what it was
	r.start()
	if next := r.add(c); next == first || !r.reserved(next.String()) {
		t.Errorf("it got %s, of which the record cannot be read", next)
	}
	got, err := r.etcdctl().Get(t.Context(), "/berth/v1/"+key)
	check(t, err)
	if len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "{" {
		t.Errorf("the damaged record has become %v", got.Kvs)
	}
}
