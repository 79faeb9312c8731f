package attach

import (
	"time"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/internal/broken"
	"github.com/berth-ipam/berth/lease/session"
)

// waitForGeneration delays an ADD whose right has run out until the node has another session, in the broken build that does not
// compare generations.
func (a *Attacher) waitForGeneration(session *session.Session, adds []*Add) {
	const patience = 200 // polls, 50 ms apart
	for range patience {
		same := a.Gate.Session() == session
		if !same || a.Rights.Remaining(adds[0].class) > 0 {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// letPassUnlessBroken is LetPass. In the broken build an ADD passes whatever has become of its address meanwhile.
func (a *Attacher) letPassUnlessBroken(e *journal.Entry) (passes bool, err error) {
	if !broken.Generation {
		return a.Isolator.LetPass(e)
	}
	if e.Wiring.Port != "" {
		err = a.Kernel().Join(e.Wiring.Port, string(e.Class))
	}
	return true, err
}
