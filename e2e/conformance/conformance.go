// Package conformance proves of a CNI plugin what the CNI specification 1.1.0 promises of it. Each row of its table is
// one sentence, which it proves on the plugin's real binary as libcni would call it: a process with an environment and
// a configuration on standard input. It knows nothing of Berth, so that any plugin can be its subject.
package conformance

import (
	"context"
	"fmt"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"time"
)

// Versions are those of the specification that the rows know, oldest first.
var Versions = []string{"0.3.1", "0.4.0", "1.0.0", "1.1.0"}

// Role is what a plugin does for the container.
type Role string

// The roles.
const (
	Interface Role = "interface" // it makes the interface
	IPAM      Role = "ipam"      // another plugin makes it; the subject is called without that one
)

// A Subject is a plugin with all that is needed to call it. Whatever is optional and absent skips the rows that need
// it.
type Subject struct {
	Plugin string         // path of its executable
	Path   []string       // further directories of CNI_PATH
	Netns  string         // of the host on which it runs
	Role   Role           // what Config makes of it
	Config map[string]any // its configuration without "cniVersion" and "name"

	Families []int // 4 and 6: those of which an ADD gives an address each; none: whatever comes

	// Held counts the attachments for which the plugin holds something outside of the kernel. Optional.
	Held func(context.Context) (int, error)
	// Small is a configuration out of which it can serve only a few attachments, at most 16. Optional.
	Small map[string]any
	// Away takes away what the plugin depends on, and gives a function that brings it back. Optional.
	Away func(context.Context) (back func() error, err error)
	// Later is a program with arguments that runs the plugin as if a while later, for one whose GC spares what is
	// young. Optional.
	Later []string
	// Patience bounds the wait for what it may still do after an answer; 0: ten seconds.
	Patience time.Duration
	// Requests are the addresses, one of each family, after which there are a hundred that nobody uses and that can be
	// asked for by name; each use moves them on. Optional.
	Requests []netip.Prefix
	// MAC tells that a hardware address can be asked for.
	MAC bool
}

// A Row is one promise.
type Row struct {
	Promise string // the sentence
	Source  string // whose it is: "spec", "skel", "conventions"
	Verb    string // the verb that it is about: below its first version, its refusal is proven instead
	Role    Role   // empty: both
	Needs   func(*Subject) bool
	Prove   func(*Run)
}

// A Verdict is what became of a row.
type Verdict struct {
	Row      Row
	Failures []string // none: it holds
}

// Rows are the table.
func Rows() []Row {
	return slices.Concat(errorRows, versionRows, addRows, delRows, checkRows, statusRows, gcRows, argumentRows)
}

// Applies reports whether the row says something of the subject.
func (r *Row) Applies(s *Subject) bool {
	return (r.Role == "" || r.Role == s.Role) && (r.Needs == nil || r.Needs(s))
}

// since is the version of the specification that brought a verb.
func since(verb string) string {
	switch verb {
	case "CHECK":
		return "0.4.0"
	case "GC", "STATUS":
		return "1.1.0"
	}
	return Versions[0]
}

// Warm has the plugin make what it keeps for good, such as its bridge, so that no row finds that it leaves something.
func Warm(ctx context.Context, s *Subject) {
	r := &Run{Context: ctx, Subject: s, Version: Versions[0]}
	r.guard(func() { r.container().add() })
	r.guard(r.cleanUp)
}

// Try proves one row on the subject at a version of the specification.
func Try(ctx context.Context, s *Subject, row Row, version string) Verdict {
	r := &Run{Context: ctx, Subject: s, Version: version, row: row}
	r.guard(func() {
		before := r.census()
		defer r.guard(func() { r.leavesNothing(before) })
		defer r.guard(r.cleanUp)
		if slices.Index(Versions, version) < slices.Index(Versions, since(row.Verb)) {
			r.refused(row.Verb)
			return
		}
		row.Prove(r)
	})
	return Verdict{Row: row, Failures: r.failures}
}

// guard runs f in a goroutine of its own, which Fatalf may end.
func (r *Run) guard(f func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			if p := recover(); p != nil {
				r.Errorf("panic: %v", p)
			}
		}()
		f()
	}()
	<-done
}

// Errorf notes a failure and goes on.
func (r *Run) Errorf(format string, args ...any) {
	r.failures = append(r.failures, fmt.Sprintf(format, args...))
}

// Fatalf notes a failure and ends the row.
func (r *Run) Fatalf(format string, args ...any) {
	r.Errorf(format, args...)
	runtime.Goexit()
}

func (v Verdict) String() string {
	return fmt.Sprintf("[%s, %s] %q: %s", v.Row.Source, v.Row.Verb, v.Row.Promise, strings.Join(v.Failures, "; "))
}
