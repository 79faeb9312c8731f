package agent

import (
	"strings"
	"testing"

	"github.com/berth-ipam/berth/internal/wire"
)

func TestAddAgainGivesTheSameAndDeleteTwiceSucceeds(t *testing.T) {
	r := newRig(t)
	for _, c := range []wire.Container{r.stateless("a", ""), r.stateful("b", "db", "db-0")} {
		first := r.add(c)
		if again := r.add(c); again != first {
			t.Errorf("%s: %s, and again %s", c.ID, first, again)
		}
		r.del(c)
		r.del(c)
	}
	r.empty()
}

func TestWhatWasAnsweredIsInEtcdForPeopleToRead(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	addr := r.add(c)
	r.until("it is assigned", func() bool { return r.assigned(addr) != nil })
	if s := r.assigned(addr); s.Attachment.Container != "a" || s.App.String() != "ns/web" || s.Node != "n1" {
		t.Errorf("assignment %+v", s)
	}
	r.del(c)
	r.empty()
}

func TestAReleasedAddressGoesBackToItsAppAlsoAfterARestart(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	addr := r.add(c)
	r.del(c)
	if other := r.add(r.stateless("b", "other")); other == addr {
		t.Errorf("another app got %s at once", addr)
	}
	r.restart()
	if again := r.add(r.stateless("c", "web")); again != addr {
		t.Errorf("the app's replacement got %s, want %s again", again, addr)
	}
}

func TestWithoutEtcdStatelessAddAndDeleteGoOn(t *testing.T) {
	r := newRig(t)
	kept := r.stateless("kept", "web")
	goes, member := r.stateless("goes", "web"), r.stateful("member", "db", "db-0")
	r.add(goes)
	r.add(member)
	r.etcd.Stop()
	addr := r.add(kept)
	r.del(goes)
	r.del(member)
	r.startEtcd()
	r.until("etcd shows what happened", func() bool { return r.assigned(addr) != nil && len(r.agent.Journal.Pending()) == 0 })
	r.del(kept)
	r.empty()
}

func TestMetricsAndReadinessAreServed(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", ""))
	for _, series := range []string{
		`berth_attachments{class="stateless"} 1`, `berth_requests_total{result="ok",verb="insert"} 1`, `berth_isolated_containers 0`,
	} {
		r.until("/metrics has "+series, func() bool { // a request is counted after its answer
			code, body := get(t, "http://"+r.webAddress()+"/metrics")
			return code == 200 && strings.Contains(body, series)
		})
	}
	if code, body := r.readyz(); code != 200 {
		t.Errorf("readyz: %d %s", code, body)
	}
}
