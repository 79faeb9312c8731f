package broken

// In generation no transaction compares who its node is, and an ADD commits under whatever session the node has. So that it hits its
// fault, an ADD whose right has run out waits for another session.
var generation = Build{
	Name: "broken_generation",
	Changes: []Change{
		{
			File: "lease/session/session.go",
			Old: `	keys := x.kv.Keys
	return []clientv3.Cmp{
		kv.Unchanged(keys.Node(x.node.Name), x.generation),
		kv.Unchanged(keys.Session(x.node.Name), x.generation),
		kv.Unchanged(keys.Cluster(), x.cluster),
	}
`,
			New: "	return nil\n",
		},
		{
			File: commit,
			Old:  "	return a.Gate.Commit(session, func() error { return a.commitAll(adds) })\n",
			New:  "	return a.commitUnderAny(session, adds)\n",
		},
		{File: commit, Old: "		case a.Rights.Remaining(add.owns()) <= 0:\n", New: "		case true:\n		case a.Rights.Remaining(add.owns()) <= 0:\n"},
		{File: commit, Old: "a.Isolator.LetPass(&answered)", New: "a.letPassAnyway(&answered)"},
	},
	Adds: map[string]string{"agent/attach/broken_generation.go": `package attach

import (
	"time"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/lease/session"
)

// commitUnderAny commits under whatever session the node has. An ADD whose right has run out waits until that is another one.
func (a *Attacher) commitUnderAny(session *session.Session, adds []*insertion) (err error) {
	for range 200 {
		if a.Gate.Session() != session || a.Rights.Remaining(adds[0].class) > 0 {
			break
		}
		time.Sleep(50 * time.Millisecond)
	}
	a.Gate.Shared(func() { err = a.commitAll(adds) })
	return err
}

// letPassAnyway lets an ADD pass whatever has become of its address meanwhile.
func (a *Attacher) letPassAnyway(e *journal.Entry) (passes bool, err error) {
	if e.Wiring.Port != "" {
		err = a.Kernel().Join(plan.Member(e))
	}
	return true, err
}
`},
}

const commit = "agent/attach/commit.go"
