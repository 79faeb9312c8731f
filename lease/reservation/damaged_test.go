package reservation_test

import (
	"net/netip"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

// A scene is a member of the pool default that n1 has reserved, and a store that has cached nothing.
type scene struct {
	*lab.Bubble
	c   *config.Config
	s   *lab.Store
	x   *lab.Joined
	id  allocator.Identity
	had record.Reservation
}

func inScene(t *testing.T, test func(sc *scene)) {
	t.Helper()
	lab.InBubble(t, func(b *lab.Bubble) {
		sc := &scene{Bubble: b, c: b.Apply(b.Store(), lab.Smallest()), id: lab.Identity("db", 0)}
		sc.had = b.Reserve(b.Join(b.Store(), "n1"), lab.Asking(sc.c, "default", sc.id, "c1"))[0]
		sc.s = b.Store()
		sc.x = b.Join(sc.s, "n1")
		test(sc)
	})
}

// reserve reserves for a member by a store that has cached nothing.
func (sc *scene) reserve(member int, container string, asked ...netip.Addr) (record.Reservation, error) {
	x := &lab.Joined{Session: sc.x.Session, Store: sc.Store()}
	got, err := x.Reserve(sc.Context(), []reservation.Request{lab.Asking(sc.c, "default", lab.Identity("db", member), container, asked...)})
	if err != nil {
		return record.Reservation{}, err
	}
	return got[0], nil
}

func (sc *scene) assert() (ok bool, err error) {
	_, ok, err = reservation.Assert(sc.Context(), sc.x.Session, assertion(sc.c, sc.had))
	return ok, err
}

// value is what a key has.
func (sc *scene) value(key string) string {
	sc.Helper()
	got, err := sc.Raw().Get(sc.Context(), key)
	sc.Check(err)
	return string(got.Kvs[0].Value)
}

func TestADamagedRecordOfAMemberKeepsWhatItHas(t *testing.T) {
	inScene(t, func(sc *scene) {
		keys := sc.s.KV.Keys
		reserved, identity := keys.Reservation("default", sc.had.Address), keys.Identity(sc.id)
		pool := sc.c.Pools["default"]
		for what, key := range map[string]string{"its reservation": reserved, "its identity": identity} {
			was := sc.value(key)
			sc.Put(key, "{")
			if got, err := sc.reserve(0, "c1"); kv.Damage(err) == nil || kv.Damage(err).Key != key {
				t.Errorf("%s is damaged: it has %+v, %v", what, got, err)
			}
			if _, err := sc.s.Reservations.End(sc.Context(), sc.id, true); kv.Damage(err) == nil {
				t.Errorf("%s is damaged, and its end says %v", what, err)
			}
			if ok, err := sc.assert(); !ok || err != nil {
				t.Errorf("%s is damaged, and nothing is missing: asserted %t, %v", what, ok, err)
			}
			sc.Delete(keys.Block("default", pool.BlockOf(sc.had.Address)))
			if ok, err := sc.assert(); ok || kv.Damage(err) == nil {
				t.Errorf("%s is damaged, and something is missing: asserted %t, %v", what, ok, err)
			}
			sc.Delete(key)
			sc.Put(key, "{") // what it was is not known either
			if ok, err := sc.assert(); ok || kv.Damage(err) == nil {
				t.Errorf("%s is damaged, and was never right: asserted %t, %v", what, ok, err)
			}
			sc.Put(keys.Block("default", pool.BlockOf(sc.had.Address)), "{")
			sc.Put(key, was)
			if ok, err := sc.assert(); ok || kv.Damage(err) == nil {
				t.Errorf("its block is damaged: asserted %t, %v", ok, err)
			}
			sc.Put(keys.Block("default", pool.BlockOf(sc.had.Address)), kv.Encode(record.StatefulBlock(blockOf(pool, sc.had.Address))))
		}
	})
}

func TestAnAddressOfWhichARecordIsDamagedIsGivenToNobodyElse(t *testing.T) {
	inScene(t, func(sc *scene) {
		keys := sc.s.KV.Keys
		pool := sc.c.Pools["default"]
		wanted, err := sc.reserve(1, "c2") // what db-1 would choose
		sc.Check(err)
		reserved, block := keys.Reservation("default", wanted.Address), keys.Block("default", pool.BlockOf(wanted.Address))
		for what, key := range map[string]string{"reservation": reserved, "block": block} {
			_, err := sc.s.Reservations.End(sc.Context(), wanted.Identity, true)
			sc.Check(err)
			if key == block {
				sc.Delete(reserved)
			}
			sc.Put(key, "{")
			if got, err := sc.reserve(1, "c2", wanted.Address); kv.Damage(err) == nil {
				t.Errorf("its %s is damaged, and it was asked for: %+v, %v", what, got, err)
			}
			if got, err := sc.reserve(1, "c2"); err != nil || got.Address == wanted.Address || key == block && pool.BlockOf(
				got.Address) == pool.BlockOf(wanted.Address) {
				t.Errorf("its %s is damaged, and chosen was %+v, %v", what, got, err)
			}
		}
	})
}

func TestAHolderWhoseNodesRecordIsDamagedIsNotTakenFrom(t *testing.T) {
	inScene(t, func(sc *scene) {
		sc.Delete(sc.s.KV.Keys.Session("n1"))
		sc.Put(sc.s.KV.Keys.Node("n1"), "{")
		n2 := sc.Join(sc.Store(), "n2")
		if got, err := n2.Reserve(sc.Context(), []reservation.Request{lab.Asking(sc.c, "default", sc.id, "c2")}); kv.Damage(err) == nil {
			t.Errorf("it was given %+v, %v", got, err)
		}
	})
}

func TestAnIdentityThatNamesWhatItsPoolLacksIsRefused(t *testing.T) {
	inScene(t, func(sc *scene) {
		key := sc.s.KV.Keys.Identity(sc.id)
		sc.Put(key, kv.Encode(record.IdentityRecord{Pool: "default", Addresses: []netip.Addr{lab.Addr("10.9.9.9")}}))
		if got, err := sc.reserve(0, "c1"); err == nil || !lab.Contains(err, "10.9.9.9") || !lab.Contains(err, key) {
			t.Errorf("it has %+v, %v", got, err)
		}
		sc.Put(key, kv.Encode(record.IdentityRecord{Pool: "gone", Addresses: []netip.Addr{lab.Addr("10.9.9.9")}}))
		if got, err := sc.reserve(0, "c1"); err == nil || !lab.Contains(err, `in pool "gone"`) {
			t.Errorf("it has %+v, %v", got, err)
		}
		if ok, err := sc.assert(); ok || err != nil { // its addresses are others
			t.Errorf("asserted %t, %v", ok, err)
		}
		sc.Put(key, kv.Encode(record.IdentityRecord{Pool: "gone", Addresses: []netip.Addr{sc.had.Address}}))
		if ok, err := sc.assert(); ok || err != nil { // the same in another pool
			t.Errorf("asserted %t, %v", ok, err)
		}
	})
}

func TestAnAddressInARecordOfAnotherMemberIsRefusedToWhoseIdentityNamesIt(t *testing.T) {
	inScene(t, func(sc *scene) {
		r := sc.had
		r.Identity, r.Holder = lab.Identity("db", 7), nil
		rewrite(sc.Lab, sc.s, r)
		if got, err := sc.reserve(0, "c1"); err == nil || !lab.Contains(err, "is reserved for ns/db/db-7") {
			t.Errorf("it has %+v, %v", got, err)
		}
		ended, err := sc.s.Reservations.End(sc.Context(), sc.id, true) // only its identity's record ends
		if err != nil || len(ended) != 0 {
			t.Errorf("ended was %+v, %v", ended, err)
		}
		if left, err := sc.s.Reservations.Of(sc.Context(), "default", r.Address); err != nil || left == nil {
			t.Errorf("the other's is %+v, %v", left, err)
		}
	})
}

// Where etcd has gone back, who had it last has it.
func TestInARecoveryTheLaterEpochCounts(t *testing.T) {
	for name, tc := range map[string]struct {
		epoch int64
		ok    bool
	}{"an earlier one elsewhere": {1, true}, "the same elsewhere": {2, false}, "a later one elsewhere": {3, false}} {
		t.Run(name, func(t *testing.T) {
			inScene(t, func(sc *scene) {
				sc.had.Epoch = 2
				r := sc.had
				r.Holder, r.Epoch = &record.Holder{Attachment: lab.Attachment("c9"), Node: "n9"}, tc.epoch
				rewrite(sc.Lab, sc.s, r)
				if ok, err := sc.assert(); ok || err != nil {
					t.Errorf("without a recovery: asserted %t, %v", ok, err)
				}
				sc.Void(sc.s)
				sc.x = sc.Join(sc.s, "n1")
				// The identity has had other addresses once; that says nothing now.
				sc.Put(sc.s.KV.Keys.Identity(sc.id), kv.Encode(record.IdentityRecord{Pool: "default", Addresses: []netip.Addr{lab.Addr(
					"10.42.0.99")}}))
				if ok, err := sc.assert(); ok != tc.ok || err != nil {
					t.Errorf("in a recovery: asserted %t, %v", ok, err)
				}
			})
		})
	}
}
