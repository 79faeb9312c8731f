package reservation_test

import (
	"net/netip"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
)

func TestAnAssertionChangesOnlyWhatIsMissing(t *testing.T) {
	for what, tc := range map[string]struct {
		lose  func(b *lab.Bubble, keys kv.Keys, had []record.Reservation)
		epoch int64    // after it, of both
		kept  []string // whose records are as they were
		costs int
	}{
		"nothing is missing": {func(*lab.Bubble, kv.Keys, []record.Reservation) {}, 2, []string{"identity", "first", "second", "block"}, 1},
		"one reservation": {func(b *lab.Bubble, keys kv.Keys, had []record.Reservation) {
			b.Delete(keys.Reservation("both", had[1].Address))
		}, 2, []string{"identity", "block"}, 2},
		"the identity": {func(b *lab.Bubble, keys kv.Keys, had []record.Reservation) { b.Delete(keys.Identity(had[0].Identity)) }, 2,
			[]string{"block"}, 2},
		"one has a later epoch": {func(b *lab.Bubble, keys kv.Keys, had []record.Reservation) {
			r := had[1]
			r.Epoch = 7
			b.Put(keys.Reservation("both", r.Address), kv.Encode(r))
		}, 7, []string{"identity", "block"}, 2},
		"one was given up since": {func(b *lab.Bubble, keys kv.Keys, had []record.Reservation) {
			r, now := had[1], time.Now()
			r.Holder, r.Ended, r.LastDel = nil, &now, &now
			b.Put(keys.Reservation("both", r.Address), kv.Encode(r))
		}, 3, []string{"identity", "block"}, 2},
		"one was reserved anew, and nobody has it yet": {func(b *lab.Bubble, keys kv.Keys, had []record.Reservation) {
			r := had[1]
			r.Holder, r.Epoch = nil, 0
			b.Put(keys.Reservation("both", r.Address), kv.Encode(r))
		}, 2, []string{"identity", "block"}, 2},
	} {
		t.Run(what, func(t *testing.T) {
			lab.InBubble(t, func(b *lab.Bubble) {
				s := b.Store()
				c := b.Apply(s, both())
				x := b.Join(s, "n1")
				id := lab.Identity("db", 0)
				b.Reserve(x, lab.Asking(c, "both", id, "c1"))
				had := b.Reserve(x, lab.Asking(c, "both", id, "c1"))
				keys := s.KV.Keys
				pool := c.Pools["both"]
				revisions := func() map[string]int64 {
					all := map[string]int64{}
					for name, key := range map[string]string{"identity": keys.Identity(id), "first": keys.Reservation("both", had[0].Address),
						"second": keys.Reservation("both", had[1].Address), "block": keys.Block("both", pool.BlockOf(had[0].Address))} {
						got, err := b.Raw().Get(b.Context(), key)
						b.Check(err)
						all[name] = kv.RevisionOf(got.Kvs)
					}
					return all
				}
				tc.lose(b, keys, had)
				before := revisions()
				time.Sleep(10 * time.Second)
				var epoch int64
				costs(b, "it", tc.costs, func() (err error) {
					var ok bool
					epoch, ok, err = reservation.Assert(b.Context(), x.Session, reservation.Assertion{Pool: pool, Identity: id,
						Attachment: lab.Attachment("c1"), Addresses: []netip.Addr{had[0].Address, had[1].Address}, Epoch: had[0].Epoch})
					if !ok {
						t.Error("it is another's")
					}
					return err
				})
				after := revisions()
				for _, name := range tc.kept {
					if after[name] != before[name] {
						t.Errorf("the %s was written", name)
					}
				}
				for i := range had {
					now, err := s.Reservations.Of(b.Context(), "both", had[i].Address)
					b.Check(err)
					if epoch != tc.epoch || now.Epoch != epoch || !now.Holder.Is(lab.Attachment("c1"), "n1") || now.Ended != nil || now.LastDel != nil {
						t.Errorf("asserted with epoch %d it is %+v, want epoch %d", epoch, now, tc.epoch)
					}
				}
				first, err := s.Reservations.Of(b.Context(), "both", had[0].Address)
				b.Check(err)
				if !first.Since.Equal(had[0].Since) || !first.Holder.Since.Equal(had[0].Holder.Since) {
					t.Errorf("it is reserved and held since %s and %s, not %s and %s", first.Since, first.Holder.Since, had[0].Since, had[0].Holder.Since)
				}
			})
		})
	}
}
