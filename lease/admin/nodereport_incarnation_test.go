package admin_test

import (
	"context"
	"testing"
	"time"

	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

func TestARequestReachesFollowersInTheNextIncarnationOfTheStore(t *testing.T) {
	m, s := lab.GoneBack(t)
	heard := make(chan string, 100)
	m.Beside(func(ctx context.Context) {
		_ = admin.FollowRequests(ctx, s.KV, func(q record.ReportRequest) { heard <- q.Who })
	})
	ask := func(who string) {
		t.Helper()
		m.Join(m.Store(), who) // else nobody is waited for
		asker := m.Store()
		m.Beside(func(ctx context.Context) {
			_, _, _ = asker.Reports.Request(ctx, record.ReportRequest{Who: who}, 20*time.Second)
		})
		select {
		case got := <-heard:
			if got != who {
				t.Errorf("heard was %q, asked %q", got, who)
			}
		case <-time.After(20 * time.Second):
			t.Fatalf("%q is not heard", who)
		}
	}
	ask("before")
	m.Back("early")
	m.HandshakeAgain(s)
	ask("after")
}
