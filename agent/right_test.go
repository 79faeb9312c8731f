package agent

import (
	"strings"
	"testing"

	"github.com/berth-ipam/berth/internal/wire"
)

func TestNothingCommitsWhoseRightHasRunOutSinceItChose(t *testing.T) {
	r := newRig(t)
	plain, member := r.onTheWay(r.stateless("a", "web")), r.onTheWay(r.stateful("b", "db", "db-0"))
	r.etcd.Stop() // else the next proof brings the right back
	r.agent.Rights.Limit(0, 0)
	for class, add := range map[string]*onTheWay{"stateless": plain, "stateful": member} {
		if response := add.end(nil); response.Error == nil || !strings.Contains(response.Error.Error(), class+" addresses lasts") {
			t.Errorf("a %s ADD without a right is answered %+v", class, response)
		}
		if r.passes(add.Wiring.Port) {
			t.Errorf("%s passes", add.Attachment)
		}
	}
	for _, e := range r.agent.Journal.Entries() {
		if e.Answered != 0 {
			t.Errorf("%s is answered: %+v", e.Attachment, e)
		}
	}
	r.startEtcd()
	r.empty()
}

func TestWithoutARightAnAddIsRefusedBeforeItChoosesAnything(t *testing.T) {
	r := newRig(t)
	r.etcd.Stop()
	r.agent.Rights.Limit(0, 0)
	for class, c := range map[string]wire.Container{"stateless": r.stateless("a", "web"), "stateful": r.stateful("b", "db", "db-0")} {
		if _, err := r.ask(wire.Insert, c); err == nil || !strings.Contains(err.Error(), class+" addresses lasts") {
			t.Errorf("the ADD of a %s container says %v", class, err)
		}
	}
	if all := r.agent.Journal.Entries(); len(all) != 0 {
		t.Errorf("the journal has %+v", all)
	}
	r.startEtcd()
}
