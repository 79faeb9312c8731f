package conformance

import (
	"cmp"
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berth-ipam/berth/internal/sandbox"
)

// patience bounds the wait for what a plugin may do after its answer, where the subject does not say.
const patience = 10 * time.Second

// A Run is one row under way.
type Run struct {
	context.Context
	*Subject
	Version string

	row        Row
	failures   []string
	containers []*Container
}

// A Container is a network namespace, and what a runtime knows of it.
type Container struct {
	ID, Netns, Interface string

	run     *Run
	result  *Result // of the last ADD
	removed bool
}

var made atomic.Int64

// container makes a container with its namespace.
func (r *Run) container() *Container {
	id := fmt.Sprintf("cf%05d", made.Add(1))
	c := &Container{ID: id, Netns: filepath.Join("/run/netns", id), Interface: "eth0", run: r}
	if err := sandbox.Namespace(c.Netns); err != nil {
		r.Fatalf("%v", err)
	}
	r.containers = append(r.containers, c)
	return c
}

// sibling is another interface of the same container.
func (c *Container) sibling(name string) *Container {
	s := &Container{ID: c.ID, Netns: c.Netns, Interface: name, run: c.run}
	c.run.containers = append(c.run.containers, s)
	return s
}

func (c *Container) exec(verb string, change ...func(*call)) Outcome {
	request := call{verb: verb, container: c, env: map[string]string{}, config: map[string]any{}}
	for _, f := range change {
		f(&request)
	}
	return c.run.exec(request)
}

// add expects ADD to succeed.
func (c *Container) add(change ...func(*call)) *Result {
	c.result = c.run.result(c.exec("ADD", change...))
	if len(c.result.IPs) == 0 {
		c.run.Fatalf("ADD answers no address: %v", c.result.raw)
	}
	return c.result
}

// del expects DEL to succeed.
func (c *Container) del(change ...func(*call)) {
	c.run.succeeds(c.exec("DEL", change...), true)
}

// removeNetns lets the namespace go.
func (c *Container) removeNetns() {
	c.removed = true
	if err := sandbox.Remove(c.Netns); err != nil {
		c.run.Fatalf("%v", err)
	}
}

// Changes of a call.
func env(name, value string) func(*call)       { return func(c *call) { c.env[name] = value } }
func without(name string) func(*call)          { return env(name, "") }
func config(key string, value any) func(*call) { return func(c *call) { c.config[key] = value } }
func stdin(text string) func(*call)            { return func(c *call) { c.stdin = text } }
func wholly(values map[string]any) func(*call) {
	return func(c *call) {
		for key, value := range values {
			c.config[key] = value
		}
	}
}

// cleanUp does what a runtime does in the end with every container, whatever became of it.
func (r *Run) cleanUp() {
	for _, c := range slices.Backward(r.containers) {
		if o := c.exec("DEL"); o.Code != 0 {
			r.Errorf("the last DEL ends with %d: %s", o.Code, o.Stdout)
		}
	}
	for _, c := range r.containers {
		if err := sandbox.Remove(c.Netns); err != nil {
			r.Errorf("%v", err)
		}
	}
}

// census is what a row has to leave as it was: the host's links, and what the plugin holds.
func (r *Run) census() []string {
	links, err := linksIn(r.Netns)
	if err != nil {
		r.Fatalf("%v", err)
	}
	lines := links
	if r.Held != nil {
		held, err := r.Held(r)
		if err != nil {
			r.Fatalf("%v", err)
		}
		lines = append(lines, fmt.Sprintf("%d attachments held", held))
	}
	return lines
}

func (r *Run) leavesNothing(before []string) {
	var after []string
	if !r.eventually(func() bool { after = r.census(); return slices.Equal(before, after) }) {
		r.Errorf("it leaves something behind: before [%s], after [%s]", strings.Join(before, " "), strings.Join(after, " "))
	}
}

// held expects the plugin to hold this many attachments more than before, where it can be asked.
func (r *Run) held(before, more int) {
	if r.Held == nil {
		return
	}
	var now int
	if !r.eventually(func() bool { now = r.holds(); return now == before+more }) {
		r.Errorf("it holds %d attachments: want %d", now, before+more)
	}
}

// holds is how many attachments the plugin holds; 0 where it cannot be asked.
func (r *Run) holds() int {
	if r.Held == nil {
		return 0
	}
	n, err := r.Held(r)
	if err != nil {
		r.Fatalf("%v", err)
	}
	return n
}

// refused expects a verb that the configuration's version does not have to be refused as incompatible.
func (r *Run) refused(verb string) {
	c := r.container()
	c.add()
	r.fails(c.exec(verb), []int{1})
}

// eventually reports whether f comes to hold.
func (r *Run) eventually(f func() bool) bool {
	for deadline := time.Now().Add(cmp.Or(r.Patience, patience)); ; {
		if f() {
			return true
		}
		if time.Now().After(deadline) {
			return false
		}
		time.Sleep(5 * time.Millisecond)
	}
}
