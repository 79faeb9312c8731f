package kv

import (
	"errors"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// access remembers what etcd refuses this process, and tells of each change once, however often it is tried.
type access struct {
	tell func(what string, err error)

	mu      sync.Mutex
	refused map[string]refusal // by what was tried
}

// A refusal is the words of one, and when they were last heard.
type refusal struct {
	words string
	last  time.Time
}

// refusedFor is how long a refusal is believed that was not heard again: what is tried seldom may have been granted since.
const refusedFor = 10 * time.Minute

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
	if plain, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		err = plain // without what was tried, which has many words
	}
	begun, ended := a.learn(what, err, time.Now())
	for _, what := range ended {
		a.tell(what, nil)
	}
	if begun {
		a.tell(what, err)
	}
}

func (a *access) learn(what string, err error, now time.Time) (begun bool, ended []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		if a.refused == nil {
			a.refused = map[string]refusal{}
		}
		begun = a.refused[what].words != err.Error()
		a.refused[what] = refusal{err.Error(), now}
	}
	for known, r := range a.refused {
		answered := err == nil && (known == what || known == TheUser) // who is answered was let in
		if answered || now.Sub(r.last) > refusedFor {
			delete(a.refused, known)
			ended = append(ended, known)
		}
	}
	return begun, ended
}
