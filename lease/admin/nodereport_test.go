package admin_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// answering lets a node answer whatever is asked, until the test ends.
func answering(l *lab.Lab, s *lab.Store, x *lab.Joined, a record.NodeReport) {
	l.Helper()
	l.Beside(func(ctx context.Context) {
		_ = admin.FollowRequests(ctx, s.KV, func(q record.ReportRequest) {
			if err := admin.Report(ctx, x.Session, q, a); err != nil && !errors.Is(err, admin.ErrWithdrawn) && ctx.Err() == nil {
				l.Error(err)
			}
		})
	})
}

func TestEveryLiveNodeIsAskedForAReportAndTheSilentOnesAreNamed(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	for _, name := range []string{"n1", "n2"} {
		own := l.Store()
		answering(l, own, l.Join(own, name), record.NodeReport{Applied: 7, Notes: []record.BadNote{{Path: name}}})
	}
	x := l.Join(s, "silent")
	l.JoinBriefly(s, "dead")
	l.Absent(s, "dead")

	answers, silent, err := s.Reports.Request(t.Context(), record.ReportRequest{Who: "test"}, time.Second)
	l.Check(err)
	if len(answers) != 2 || answers[0].Node != "n1" || answers[0].Notes[0].Path != "n1" || answers[1].Node != "n2" || answers[1].Applied != 7 {
		t.Errorf("the answers are %+v", answers)
	}
	if !slices.Equal(silent, []string{"silent"}) {
		t.Errorf("the silent ones are %q, want the one that has a session and does not answer", silent)
	}

	answering(l, s, x, record.NodeReport{})
	answers, silent, err = s.Reports.Request(t.Context(), record.ReportRequest{}, time.Minute)
	l.Check(err)
	if len(answers) != 3 || len(silent) != 0 {
		t.Errorf("with all of them: %d answers, silent %q", len(answers), silent)
	}
	left, err := s.KV.Scan(t.Context(), s.KV.Keys.Under(kv.KindQuestion))
	l.Check(err)
	if len(left.Kvs) > 0 {
		t.Errorf("%d keys of questions are left behind", len(left.Kvs))
	}
}

func TestOnlyTheLiveSessionReportsAndOnlyWhileTheRequestIsThere(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	former := l.Join(s, "n1")
	present := l.Join(s, "n1")
	id, err := s.KV.Grant(t.Context(), time.Minute)
	l.Check(err)
	slot, _, live, err := s.Reports.Pose(t.Context(), record.ReportRequest{}, id)
	l.Check(err)
	if !slices.Equal(live, []string{"n1"}) {
		t.Errorf("live are %q", live)
	}
	asked, err := s.KV.Get(t.Context(), s.KV.Keys.Question(slot))
	l.Check(err)
	q, err := record.QuestionCodec.Read(s.KV.Keys, asked.Kvs[0])
	l.Check(err)
	q.Lease = asked.Kvs[0].Lease
	if q.Slot != slot {
		t.Fatalf("the question is %+v, want one in slot %s", q, slot)
	}
	if err := admin.Report(t.Context(), former.Session, q, record.NodeReport{}); !errors.Is(err, session.ErrReplaced) {
		t.Errorf("a former session answered: %v", err)
	}
	l.Check(admin.Report(t.Context(), present.Session, q, record.NodeReport{}))
	later := q
	later.Revision++
	if err := admin.Report(t.Context(), present.Session, later, record.NodeReport{}); !errors.Is(err, admin.ErrWithdrawn) {
		t.Errorf("to another question in the slot: %v", err)
	}
	s.KV.Revoke(id)
	if err := admin.Report(t.Context(), present.Session, q, record.NodeReport{}); !errors.Is(err, admin.ErrWithdrawn) {
		t.Errorf("after it was withdrawn: %v", err)
	}
}

func TestTheSlotsBoundHowMuchIsAskedAtOnce(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	for range admin.Slots {
		id, err := s.KV.Grant(t.Context(), time.Minute)
		l.Check(err)
		_, _, _, err = s.Reports.Pose(t.Context(), record.ReportRequest{}, id)
		l.Check(err)
	}
	if _, _, err := s.Reports.Request(t.Context(), record.ReportRequest{}, time.Second); err == nil || !lab.Contains(err, "try again") {
		t.Errorf("one question too many: %v", err)
	}
}

func TestAThousandAttachmentsFitIntoAReportAndMoreAreCounted(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	many := func(n int) (a record.NodeReport) {
		for i := range n {
			a.Attachments = append(a.Attachments, record.HeldAttachment{
				Attachment: allocator.Attachment{Network: "berth", Container: fmt.Sprintf("%064d", i), Interface: "eth0"}, Role: "interface",
				Class: allocator.Stateful, Pool: "default",
				Addresses: []netip.Addr{lab.Addr("10.42.200.200"), lab.Addr("fd00:1111:2222:3333:4444:5555:6666:7777")},
				App:       allocator.App{Namespace: "a-namespace-of-a-team", Name: strings.Repeat("app", 8)}, Member: strings.Repeat("app", 8) + "-123",
				Epoch: 1 << 40, Since: time.Now(), Answered: true, Port: "bth0123456789ab",
			})
			a.Ports = append(a.Ports, record.HeldPort{Name: "bth0123456789ab", Class: "stateful"})
		}
		return a
	}
	for count, all := range map[int]bool{1000: true, 20000: false} {
		own := l.Store()
		x := l.Join(own, fmt.Sprint("n", count))
		answering(l, own, x, many(count))
		answers, _, err := s.Reports.Request(t.Context(), record.ReportRequest{}, 30*time.Second)
		l.Check(err)
		i := slices.IndexFunc(answers, func(a record.NodeReport) bool { return a.Node == x.Node().Name })
		a := answers[i]
		if len(a.Attachments)+a.More.Attachments != count || len(a.Ports)+a.More.Ports != count || (a.More == record.More{}) != all ||
			len(a.Attachments) < 1000 {
			t.Errorf("of %d there are %d, and %d are counted", count, len(a.Attachments), a.More.Attachments)
		}
	}
}

func TestAReportIsWrittenAlsoWhereItsSpacesAloneAreTooMuch(t *testing.T) {
	space := record.HeldSpace{Pool: "default", Parts: slices.Repeat([]netip.Prefix{lab.Prefix("10.42.16.0/26")},
		record.MaxAnswer/len("10.42.16.0/26"))}
	a := record.NodeReport{Notes: []record.BadNote{{Path: "one"}}, Spaces: []record.HeldSpace{space}}
	if text := a.Text(); !strings.Contains(text, `"more":{"notes":1}`) {
		t.Errorf("it ends with %q", text[len(text)-100:])
	}
}
