package lease

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/berth-ipam/berth/allocator"
)

// answering lets a node answer whatever is asked, until the test ends.
func (l *lab) answering(s *Store, x *joined, a Answer) {
	l.Helper()
	l.beside(func(ctx context.Context) {
		_ = s.FollowQuestions(ctx, func(q Question) {
			if err := x.Answer(ctx, q, a); err != nil && !errors.Is(err, ErrWithdrawn) && ctx.Err() == nil {
				l.Error(err)
			}
		})
	})
}

func TestEveryLiveNodeIsAskedAndTheSilentOnesAreNamed(t *testing.T) {
	l := newLab(t)
	s := l.store()
	for _, name := range []string{"n1", "n2"} {
		own := l.store()
		l.answering(own, l.join(own, name), Answer{Applied: 7, Notes: []BadNote{{Path: name}}})
	}
	x := l.join(s, "silent")
	l.joinBriefly(s, "dead")
	l.absent(s, "dead")

	answers, silent, err := s.Ask(t.Context(), Question{Who: "test"}, time.Second)
	l.check(err)
	if len(answers) != 2 || answers[0].Node != "n1" || answers[0].Notes[0].Path != "n1" || answers[1].Node != "n2" || answers[1].Applied != 7 {
		t.Errorf("the answers are %+v", answers)
	}
	if !slices.Equal(silent, []string{"silent"}) {
		t.Errorf("the silent ones are %q, want the one that has a session and does not answer", silent)
	}

	l.answering(s, x, Answer{})
	answers, silent, err = s.Ask(t.Context(), Question{}, time.Minute)
	l.check(err)
	if len(answers) != 3 || len(silent) != 0 {
		t.Errorf("with all of them: %d answers, silent %q", len(answers), silent)
	}
	left, err := s.scan(t.Context(), s.keys.Under(KindQuestion))
	l.check(err)
	if len(left.Kvs) > 0 {
		t.Errorf("%d keys of questions are left behind", len(left.Kvs))
	}
}

func TestOnlyTheLiveSessionAnswersAndOnlyWhileTheQuestionIsThere(t *testing.T) {
	l := newLab(t)
	s := l.store()
	former := l.join(s, "n1")
	present := l.join(s, "n1")
	id, err := s.grant(t.Context(), time.Minute)
	l.check(err)
	slot, _, live, err := s.pose(t.Context(), Question{}, id)
	l.check(err)
	if !slices.Equal(live, []string{"n1"}) {
		t.Errorf("live are %q", live)
	}
	var q Question
	_, err = s.readQuestions(t.Context(), func(kv *mvccpb.KeyValue) { q, err = questionCodec.read(s.keys, kv); q.Lease = kv.Lease })
	l.check(err)
	if q.Slot != slot {
		t.Fatalf("the question is %+v, want one in slot %s", q, slot)
	}
	if err := former.Answer(t.Context(), q, Answer{}); !errors.Is(err, ErrReplaced) {
		t.Errorf("a former session answered: %v", err)
	}
	l.check(present.Answer(t.Context(), q, Answer{}))
	later := q
	later.Revision++
	if err := present.Answer(t.Context(), later, Answer{}); !errors.Is(err, ErrWithdrawn) {
		t.Errorf("to another question in the slot: %v", err)
	}
	s.revoke(id)
	if err := present.Answer(t.Context(), q, Answer{}); !errors.Is(err, ErrWithdrawn) {
		t.Errorf("after it was withdrawn: %v", err)
	}
}

func TestTheSlotsBoundHowMuchIsAskedAtOnce(t *testing.T) {
	l := newLab(t)
	s := l.store()
	for range askSlots {
		id, err := s.grant(t.Context(), time.Minute)
		l.check(err)
		_, _, _, err = s.pose(t.Context(), Question{}, id)
		l.check(err)
	}
	if _, _, err := s.Ask(t.Context(), Question{}, time.Second); err == nil || !contains(err, "try again") {
		t.Errorf("one question too many: %v", err)
	}
}

func TestAThousandAttachmentsFitIntoAnAnswerAndMoreAreCounted(t *testing.T) {
	l := newLab(t)
	s := l.store()
	many := func(n int) (a Answer) {
		for i := range n {
			a.Attachments = append(a.Attachments, HeldAttachment{
				Attachment: allocator.Attachment{Network: "berth", Container: fmt.Sprintf("%064d", i), Interface: "eth0"}, Role: "interface",
				Class: allocator.Stateful, Pool: "default",
				Addresses: []netip.Addr{addr("10.42.200.200"), addr("fd00:1111:2222:3333:4444:5555:6666:7777")},
				App:       allocator.App{Namespace: "a-namespace-of-a-team", Name: strings.Repeat("app", 8)}, Member: strings.Repeat("app", 8) + "-123",
				Epoch: 1 << 40, Since: time.Now(), Answered: true, Port: "bth0123456789ab",
			})
			a.Ports = append(a.Ports, HeldPort{Name: "bth0123456789ab", Class: "stateful"})
		}
		return a
	}
	for count, all := range map[int]bool{1000: true, 20000: false} {
		own := l.store()
		x := l.join(own, fmt.Sprint("n", count))
		l.answering(own, x, many(count))
		answers, _, err := s.Ask(t.Context(), Question{}, 30*time.Second)
		l.check(err)
		i := slices.IndexFunc(answers, func(a Answer) bool { return a.Node == x.Node().Name })
		a := answers[i]
		if len(a.Attachments)+a.More.Attachments != count || len(a.Ports)+a.More.Ports != count || (a.More == More{}) != all ||
			len(a.Attachments) < 1000 {
			t.Errorf("of %d there are %d, and %d are counted", count, len(a.Attachments), a.More.Attachments)
		}
	}
}

func TestAnAnswerIsWrittenAlsoWhereItsSpacesAloneAreTooMuch(t *testing.T) {
	space := HeldSpace{Pool: "default", Parts: slices.Repeat([]netip.Prefix{prefix("10.42.16.0/26")}, maxAnswer/len("10.42.16.0/26"))}
	a := Answer{Notes: []BadNote{{Path: "one"}}, Spaces: []HeldSpace{space}}
	if text := a.text(); !strings.Contains(text, `"more":{"notes":1}`) {
		t.Errorf("it ends with %q", text[len(text)-100:])
	}
}
