package agent

import (
	"context"
	"encoding/json"
	"math/rand/v2"
	"os"
	"testing"
	"time"

	"github.com/berth-ipam/berth/internal/wire"
)

const aContainer = `{"network":"net","id":"a","interface":"eth0","role":"ipam"`

// asked are requests of every kind; what is sent are they, and what becomes of them when parts are swapped and changed.
var asked = []string{
	`{"operation":"insert","containers":[` + aContainer + `}]}`,
	`{"operation":"insert","started":9,"containers":[` + aContainer +
		`,"namespace":"ns","app":"web","pool":"default","addresses":["10.42.16.9/24"]}]}`,
	`{"operation":"insert","each":true,"containers":[` + aContainer + `,"class":"stateful","namespace":"ns","app":"db","member":"db-0"},` +
		aContainer + `}]}`,
	`{"operation":"insert","containers":[{"network":"net","id":"b","interface":"eth0","role":"interface","netnsFile":1,"bridge":"br0","uplink":"eth9","ipMasq":true,"mac":"be:00:00:00:00:01"}]}`,
	`{"operation":"delete","dryRun":true,"containers":[` + aContainer + `}]}`,
	`{"operation":"delete","release":true,"started":-1,"containers":[` + aContainer + `}]}`,
	`{"operation":"read","containers":[` + aContainer +
		`,"previous":{"addresses":[{"address":"10.42.16.9/24"}],"mac":"x","routes":[{"to":"::/0"}]}}]}`,
	`{"operation":"read"}`, `{"operation":"read","select":{"app":"ns/web","containers":["a"],"node":"n1","pool":"default"}}`,
	`{"operation":"read","select":{"app":"/"}}`, `{"operation":"status","pool":"default"}`, `{"operation":"status","pool":"\u0000"}`,
	`{"operation":"gc","network":"net","started":5,"valid":[{"container":"a","interface":"eth0"}]}`, `{"operation":"gc"}`,
	`{"operation":"\u0000"}`, `{}`,
}

// changed is a request in which some values are replaced by others, of any request or of none.
func changed(random *rand.Rand, value any, pool []any) any {
	if random.IntN(12) == 0 {
		return pool[random.IntN(len(pool))]
	}
	switch v := value.(type) {
	case map[string]any:
		next := map[string]any{}
		for k, each := range v {
			if random.IntN(15) > 0 {
				next[k] = changed(random, each, pool)
			}
		}
		return next
	case []any:
		var next []any
		for _, each := range v {
			for range 1 + random.IntN(3)/2 {
				next = append(next, changed(random, each, pool))
			}
		}
		return next
	}
	return value
}

// values gathers all that a request is made of.
func values(value any, into []any) []any {
	into = append(into, value)
	switch v := value.(type) {
	case map[string]any:
		for _, each := range v {
			into = values(each, into)
		}
	case []any:
		for _, each := range v {
			into = values(each, into)
		}
	}
	return into
}

// TestNoRequestMakesAnAgentPanicOrKeepALock sends what can be decoded of thousands of requests, changed at random. An agent
// does not recover from a panic, since what it holds in memory is doubtful then: its journal is not.
func TestNoRequestMakesAnAgentPanicOrKeepALock(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	pool := []any{nil, "", "\x00", "a/b", "fd00::1", "10.42.16.10", "0.0.0.0/0", -1.0, 0.0, 1.0, 1e9, true, []any{}, map[string]any{}}
	var all []any
	for _, text := range asked {
		var value any
		check(t, json.Unmarshal([]byte(text), &value))
		all = append(all, value)
		pool = values(value, pool)
	}
	r := newRig(t)
	null, err := os.Open("/dev/null")
	check(t, err)
	defer null.Close()
	done := 0
	for i := range 1200 {
		value := all[random.IntN(len(all))]
		if i < len(all) {
			value = all[i]
		} else {
			value = changed(random, value, pool)
		}
		text, err := json.Marshal(value)
		check(t, err)
		q := new(wire.Request)
		if json.Unmarshal(text, q) != nil {
			continue
		}
		done++
		if problem := r.attempt(q, null); problem != "" {
			t.Fatalf("seed %d, request %d, %s: %s", seed, i, text, problem)
		}
	}
	if done < 400 {
		t.Errorf("only %d requests could be decoded", done)
	}
	r.empty()
}

// attempt asks the agent, takes back what was done, and says what was wrong with it.
func (r *rig) attempt(q *wire.Request, null *os.File) (problem string) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a := r.agent
	response := a.respond(ctx, q, []*os.File{null})
	if _, err := json.Marshal(response); err != nil {
		return "the answer cannot be sent: " + err.Error()
	}
	if e := response.Error; e != nil && e.Code == wire.CodeInternal {
		return "the agent takes the fault upon itself: " + e.Error()
	}
	for _, c := range q.Containers {
		c.NetnsFile = 0
		undo := &wire.Request{Operation: wire.Delete, Release: true, Containers: wire.Containers{c}}
		if e := a.respond(ctx, undo, nil).Error; e != nil && e.Code != wire.CodeEnvironment {
			return "it cannot be taken back: " + e.Error()
		}
	}
	if a.Locks.Count() > 0 {
		return "a lock is kept"
	}
	return ""
}
