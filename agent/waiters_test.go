package agent

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/block"
)

func TestAnAddThatFindsNoAddressIsEndedByATransfer(t *testing.T) {
	r, n2, claim := shared(t)
	b := claim()
	ended := r.waiting(r.tiny("a"))
	d := r.demanded("n1")
	if d.Pool != "tiny" || d.V4 != 1 || d.V6 != 0 {
		t.Errorf("the demand is %+v", d)
	}
	if code, body := get(t, "http://"+r.webAddress()+"/metrics"); code != 200 ||
		!strings.Contains(body, "berth_waiting_requests 1") {
		t.Error("the metrics do not show the wait")
	}
	_, err := block.Transfer(t.Context(), n2, b, netip.MustParsePrefix("10.7.0.8/31"), d)
	check(t, err)
	if got := r.answered(ended); got != netip.MustParseAddr("10.7.0.8") && got != netip.MustParseAddr("10.7.0.9") {
		t.Errorf("%s was answered, which was not given", got)
	}
	r.agrees()
	r.undemanded()
	r.until("the metrics show the transfer", func() bool {
		_, body := get(t, "http://"+r.webAddress()+"/metrics")
		return strings.Contains(body, `berth_gifts_total{direction="received"} 1`)
	})
}

func TestAnAddThatFindsNoAddressIsEndedByAReleaseHere(t *testing.T) {
	r, _, _ := shared(t)
	var all []wire.Container
	for _, id := range []string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l", "m"} {
		all = append(all, r.tiny(id))
		r.add(all[len(all)-1])
	}
	first := r.waiting(r.tiny("first"))
	second := r.waiting(r.tiny("second"))
	r.until("both wait", func() bool { return r.agent.addresses.Waiters.Len(tiny) == 2 })
	r.demanded("n1")
	freed := r.agent.Journal.Get(allocator.Attachment{Network: "net", Container: "c", Interface: "eth0"}).Addresses[0]
	r.del(all[2])
	// Whichever came first.
	var got netip.Addr
	select {
	case response := <-first:
		got, first = response.Results[0].Addresses[0].Address.Addr(), second
	case response := <-second:
		got = response.Results[0].Addresses[0].Address.Addr()
	}
	if got != freed {
		t.Errorf("%s was answered, %s is the one that was released", got, freed)
	}
	r.del(all[5])
	r.answered(first)
	r.undemanded()
}

func TestAnAddThatFindsNoAddressIsEndedByABlockThatIsGivenBack(t *testing.T) {
	r, n2, claim := shared(t)
	b := claim()
	ended := r.waiting(r.tiny("a"))
	_, err := block.Release(t.Context(), n2, b, netip.MustParsePrefix("10.7.0.4/30"))
	check(t, err)
	if got := r.answered(ended); !netip.MustParsePrefix("10.7.0.4/30").Contains(got) {
		t.Errorf("%s was answered, which is another's", got)
	}
	r.agrees()
	r.undemanded()
}
