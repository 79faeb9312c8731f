package reservation_test

import (
	"errors"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/reservation"
	"github.com/berth-ipam/berth/lease/session"
)

// A restored etcd has a member's former address beside the one that its container has.
func TestAMemberHasWhatItsContainerHoldsAndNotWhatARestoredRecordNames(t *testing.T) {
	former := lab.Addr("10.42.9.9")
	for what, c := range map[string]struct {
		change func(l *lab.Lab, s *lab.Store, held, was record.Reservation)
		done   bool
		gone   bool // the former is not reserved then
		fails  func(error) bool
	}{
		"nobody holds the former": {done: true, gone: true},
		"the former is not reserved": {func(l *lab.Lab, s *lab.Store, _, was record.Reservation) {
			l.Delete(s.KV.Keys.Reservation("default", was.Address))
		}, true, true, nil},
		"the former is another's": {func(l *lab.Lab, s *lab.Store, _, was record.Reservation) {
			was.Identity = lab.Identity("db", 7)
			rewrite(l, s, was)
		}, true, false, nil},
		"another holds the former": {func(l *lab.Lab, s *lab.Store, held, was record.Reservation) {
			was.Holder = &record.Holder{Attachment: lab.Attachment("c2"), Node: "n2"}
			rewrite(l, s, was)
		}, false, false, nil},
		"the attachment holds nothing": {func(l *lab.Lab, s *lab.Store, held, _ record.Reservation) {
			held.Holder = nil
			rewrite(l, s, held)
		}, false, false, nil},
		"another container holds it": {func(l *lab.Lab, s *lab.Store, held, _ record.Reservation) {
			held.Holder = &record.Holder{Attachment: lab.Attachment("c2"), Node: "n1"}
			rewrite(l, s, held)
		}, false, false, nil},
		"the record names what is held": {func(l *lab.Lab, s *lab.Store, held, _ record.Reservation) {
			l.Put(s.KV.Keys.Identity(held.Identity), kv.Encode(record.IdentityRecord{Pool: "default", Addresses: []netip.Addr{held.Address}}))
		}, false, false, nil},
		"the record is damaged": {func(l *lab.Lab, s *lab.Store, held, _ record.Reservation) {
			l.Put(s.KV.Keys.Identity(held.Identity), "{")
		}, false, false, func(err error) bool { return kv.Damage(err) != nil }},
		"the former is damaged": {func(l *lab.Lab, s *lab.Store, _, was record.Reservation) {
			l.Put(s.KV.Keys.Reservation("default", was.Address), "{")
		}, false, false, func(err error) bool { return kv.Damage(err) != nil }},
		"etcd recovers": {func(l *lab.Lab, s *lab.Store, _, _ record.Reservation) { l.Void(s) }, false, false,
			func(err error) bool { return errors.Is(err, session.ErrRecovering) }},
	} {
		t.Run(what, func(t *testing.T) {
			l := lab.New(t)
			s := l.Store()
			config := l.Apply(s, lab.Smallest())
			held := l.Reserve(l.Join(s, "n1"), lab.Asking(config, "default", lab.Identity("db", 0), "c1"))[0]
			was := held
			was.Address, was.Holder = former, nil
			rewrite(l, s, was)
			l.Put(s.KV.Keys.Identity(held.Identity), kv.Encode(record.IdentityRecord{Pool: "default", Addresses: []netip.Addr{former}}))
			if c.change != nil {
				c.change(l, s, held, was)
			}
			done, err := reservation.Rename(t.Context(), l.Join(s, "n1").Session, assertion(config, held))
			if done != c.done || c.fails == nil && err != nil || c.fails != nil && !c.fails(err) {
				t.Errorf("renamed %v, %v", done, err)
			}
			all, _ := s.Reservations.List(t.Context())
			left := slices.ContainsFunc(all, func(r record.Reservation) bool { return r.Address == former })
			if what != "the former is damaged" && left == c.gone {
				t.Errorf("reserved are %+v", all)
			}
			if done && c.gone {
				agree(l, s, held)
			}
		})
	}
}

func TestNothingComesBetweenALookAndARename(t *testing.T) {
	lab.InBubble(t, func(b *lab.Bubble) {
		s, config := b.Store(), b.Apply(b.Store(), lab.Smallest())
		x := b.Join(s, "n1")
		held := b.Reserve(x, lab.Asking(config, "default", lab.Identity("db", 0), "c1"))[0]
		identity := s.KV.Keys.Identity(held.Identity)
		was, a := held, assertion(config, held)
		was.Address, was.Holder = lab.Addr("10.42.9.9"), nil
		for what, change := range map[string]func(){
			"the former is held": func() {
				taken := was
				taken.Holder = &record.Holder{Attachment: lab.Attachment("c2"), Node: "n2"}
				rewrite(b.Lab, s, taken)
			},
			"the attachment has let go": func() {
				let := held
				let.Holder = nil
				rewrite(b.Lab, s, let)
			},
			"the record names another": func() {
				b.Put(identity, kv.Encode(record.IdentityRecord{Pool: "default", Addresses: []netip.Addr{held.Address}}))
			},
		} {
			rewrite(b.Lab, s, held)
			rewrite(b.Lab, s, was)
			b.Put(identity, kv.Encode(record.IdentityRecord{Pool: "default", Addresses: []netip.Addr{was.Address}}))
			n := 0
			b.OnCall(func(call string) {
				if strings.HasPrefix(call, "before txn") {
					if n++; n == 3 { // after both looks
						change()
					}
				}
			})
			done, err := reservation.Rename(b.Context(), x.Session, a)
			b.OnCall(nil)
			if n < 4 || done || err != nil {
				t.Errorf("%s after %d transactions: renamed %v, %v", what, n, done, err)
			}
			if all, err := s.Reservations.List(b.Context()); err != nil || len(all) != 2 {
				t.Errorf("%s: reserved are %+v, %v", what, all, err)
			}
		}
	})
}
