package fence

import (
	"testing"
	"time"

	"github.com/google/nftables"
)

func TestThisKernelRenewsTimers(t *testing.T) {
	k, host := newHost(t)
	for range 2 {
		must(t, k.TryFence())
		flush(host)
	}
}

func TestAKernelThatDoesNotRenewTimersIsReportedInWords(t *testing.T) {
	for _, e := range []nftables.SetElement{
		{Timeout: time.Minute, Expires: 59 * time.Second},               // an add changed nothing
		{Timeout: time.Hour, Expires: 59 * time.Second},                 // half of it
		{Timeout: time.Hour, Expires: 0},                                // none
		{Timeout: time.Hour, Expires: time.Minute},                      // no more than before
		{Timeout: time.Minute, Expires: time.Hour},                      // the former one
		{Timeout: time.Hour, Expires: time.Hour + 500*time.Millisecond}, // too long
	} {
		if err := renewed(e, time.Minute, time.Hour); !mentions(err, "renewed") {
			t.Errorf("%+v: error %v", e, err)
		}
	}
	must(t, renewed(nftables.SetElement{Timeout: time.Hour, Expires: time.Hour - time.Second}, time.Minute, time.Hour))
}
