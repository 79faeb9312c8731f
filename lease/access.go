package lease

import (
	"errors"
	"sync"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// access remembers what etcd refuses this process, and tells of each change once, however often it is tried.
type access struct {
	tell func(what string, err error)

	mu      sync.Mutex
	refused map[string]string // by what was tried, the words of the refusal
}

// TheUser is what Access is told of where etcd does not let the user in at all.
const TheUser = "the user"

// note takes in how a try ended. An error that is no refusal says nothing of access.
func (a *access) note(what string, err error) {
	if a.tell == nil || err != nil && !Refused(err) {
		return
	}
	if unauthenticated(err) {
		what = TheUser
	}
	if refusal, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		err = refusal // without what was tried, which has many words
	}
	a.mu.Lock()
	var changed []string
	switch {
	case err == nil:
		for _, mended := range []string{TheUser, what} { // who is answered was let in
			if _, known := a.refused[mended]; known {
				delete(a.refused, mended)
				changed = append(changed, mended)
			}
		}
	case a.refused[what] != err.Error():
		if a.refused == nil {
			a.refused = map[string]string{}
		}
		a.refused[what] = err.Error()
		changed = append(changed, what)
	}
	a.mu.Unlock()
	for _, what := range changed {
		a.tell(what, err)
	}
}
