package agent

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/internal/wire"
)

func TestNothingCommitsWhoseRightHasRunOutSinceItChose(t *testing.T) {
	r := newRig(t)
	plain, plainAdds := r.chosen("a")
	member, memberAdds := r.uncommitted(r.stateful("b", "db", "db-0"))
	r.etcd.Stop() // else the next proof brings the right back
	r.agent.Rights.Limit(0, 0)
	if err := r.agent.attacher.Commit(plain, plainAdds); !errors.Is(err, node.ErrSuperseded) {
		t.Errorf("a stateless ADD without a right: %v", err)
	}
	if err := r.agent.attacher.Commit(member, memberAdds); !errors.Is(err, node.ErrSuperseded) {
		t.Errorf("a stateful ADD without a right: %v", err)
	}
	for _, e := range r.agent.Journal.Entries() {
		if e.Answered != 0 || r.passes(e.Wiring.Port) {
			t.Errorf("%s is answered or passes: %+v", e.Attachment, e)
		}
	}
	r.startEtcd()
	r.agent.attacher.Undo(plainAdds[0])
	r.agent.attacher.Undo(memberAdds[0])
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
