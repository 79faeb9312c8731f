package kv

import (
	"errors"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// access remembers what etcd refuses this process, and notifies once of each change.
type access struct {
	notify func(what string, err error)

	mu      sync.Mutex
	refused map[string]refusal // by what was tried
}

// A refusal is its text, and when etcd last gave it.
type refusal struct {
	text string
	last time.Time
}

// refusedFor is how long a refusal counts that was not repeated: what is tried seldom may have been granted since.
const refusedFor = 10 * time.Minute

// TheUser is what Access is called with where etcd does not let the user in at all.
const TheUser = "the user"

// note records how a call ended. An error that is no refusal says nothing about access.
func (a *access) note(what string, err error) {
	if a.notify == nil || err != nil && !Refused(err) {
		return
	}
	if unauthenticated(err) {
		what = TheUser
	}
	if plain, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		err = plain // without the call's own text
	}
	begun, ended := a.learn(what, err, time.Now())
	for _, what := range ended {
		a.notify(what, nil)
	}
	if begun {
		a.notify(what, err)
	}
}

func (a *access) learn(what string, err error, now time.Time) (begun bool, ended []string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		if a.refused == nil {
			a.refused = map[string]refusal{}
		}
		begun = a.refused[what].text != err.Error()
		a.refused[what] = refusal{err.Error(), now}
	}
	for known, r := range a.refused {
		answered := err == nil && (known == what || known == TheUser) // an answer proves that the user was let in
		if answered || now.Sub(r.last) > refusedFor {
			delete(a.refused, known)
			ended = append(ended, known)
		}
	}
	return begun, ended
}
