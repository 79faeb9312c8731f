package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
)

// storiesIn in the environment is how many times each story is told in each mode of fencing: 100, say.
const storiesIn = "BERTH_STORIES"

// The session is long beside a restart of an agent, also on a machine with much to do: what is absent for longer may be taken.
const storiesPool = `settings:
  fencing: %s
  session: 6s
  addressLease: 12s
` + onePool

// A story is told again and again, with delays at random, on a lab that other stories share: on the wire no address is ever
// live twice, no container that was answered is lost, and none that lives is let go of.
type story struct {
	name string
	tell func(*teller) error
}

// The stories, each with the node that it disrupts; the last node is every story's haven, where nothing is disrupted.
var stories = []story{
	{"a full run directory", (*teller).fullRunDirectory},
	{"a repeated ADD against settling", (*teller).addAgainstSettling},
	{"a lost journal with long names", (*teller).lostJournal},
	{"a late DEL", (*teller).lateDelete},
	{"a namespace that vanished", (*teller).vanishedNamespace},
}

// A teller tells one story.
type teller struct {
	t     *testing.T
	ctx   context.Context
	lab   *lab.Lab
	tower *tower
	node  *lab.Node
	haven *lab.Node
	round string // names what this round makes
	// strict: no address is live twice whatever becomes of agents
	strict bool
}

func TestStoriesOfSettlingKeepEveryAddressOnce(t *testing.T) {
	times := 1
	if text := os.Getenv(storiesIn); text != "" {
		var err error
		if times, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s: %v", storiesIn, err)
		}
	}
	for _, mode := range []string{"strict", "evidence"} {
		t.Run(mode, func(t *testing.T) {
			options := lab.Options{Nodes: len(stories) + 1, Gateways: []netip.Prefix{gateway}, Disk: 8 << 20}
			l := makeLab(t, options, fmt.Sprintf(storiesPool, mode))
			w := newTower(t, l)
			crowd(t, l, 1000)
			var telling sync.WaitGroup
			for i, s := range stories {
				telling.Go(func() {
					began, void := time.Now(), 0
					for n := range times {
						tell := &teller{t, t.Context(), l, w, l.Nodes[i], l.Nodes[len(stories)], fmt.Sprintf("s%d-%d", i, n), mode == "strict"}
						if err := s.tell(tell); err != nil && err.Error() == errVoid.Error() {
							void++
						} else if err != nil {
							t.Errorf("%s, round %d of %d: %v", s.name, n+1, times, err)
							return
						}
						if (n+1)%10 == 0 {
							t.Logf("%s: %d times in %v", s.name, n+1, time.Since(began).Round(time.Second))
						}
					}
					t.Logf("%s: %d times in %v; %d rounds tell nothing, since the machine was too slow", s.name, times,
						time.Since(began).Round(time.Second), void)
				})
			}
			telling.Wait()
		})
	}
}

// crowd makes that many reservations of members that run nowhere, so that settling takes its time.
func crowd(t *testing.T, l *lab.Lab, many int) {
	t.Helper()
	for i := range many {
		address := fmt.Sprintf("10.42.%d.%d", 8+i/250, 2+i%250)
		identity := map[string]string{"namespace": "crowd", "app": "db", "member": fmt.Sprint("m-", i), "network": "berth", "interface": "eth0"}
		reservation, err := json.Marshal(map[string]any{"identity": identity, "epoch": 1, "since": time.Now()})
		if err != nil {
			t.Fatal(err)
		}
		record := fmt.Sprintf(`{"pool":"default","addresses":[%q]}`, address)
		for key, value := range map[string]string{
			"reservations/default/" + address: string(reservation), fmt.Sprintf("identities/berth/crowd/db/m-%d/eth0", i): record,
		} {
			if _, err := l.Etcd.Client().Put(t.Context(), "/berth/v1/"+key, value); err != nil {
				t.Fatal(err)
			}
		}
	}
}
