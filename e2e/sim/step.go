package sim

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// A Step is one thing that is done to a cluster, at a time of the run. What has nothing to act on by then is passed over, so that
// any selection of a plan's steps is a plan, too.
type Step struct {
	At     time.Duration
	Do     Deed
	Place  string        `word:"place"` // of a container: a member as db-3, a replica as web/3; of a set several, with commas
	Node   string        `word:"node"`
	For    time.Duration `word:"for"`    // how long it lasts, or what it is late
	Point  string        `word:"point"`  // where a process is killed
	Nth    int           `word:"nth"`    // which passing of the point
	Choice int           `word:"choice"` // which of several, where that cannot be named beforehand
}

// A Deed is a kind of step.
type Deed string

// What a runtime does.
const (
	Add     Deed = "add"      // a container for a place that has none
	Again   Deed = "again"    // ADD of the place's container, once more
	Renew   Deed = "renew"    // the same ID in a new namespace, without a DEL
	Seize   Deed = "seize"    // another container for a place that has one, on another node
	Delete  Deed = "delete"   // the place's container
	LateDel Deed = "late"     // a DEL of the place's former container
	Move    Deed = "move"     // DEL here, then ADD there
	End     Deed = "end"      // its namespace ends, and nobody says so
	Check   Deed = "check"    // CNI CHECK
	Collect Deed = "collect"  // CNI GC with the right list
	Misled  Deed = "misled"   // CNI GC with an empty list
	Status  Deed = "status"   // CNI STATUS
	GiveUp  Deed = "give-up"  // an ADD whose caller goes before its answer
	Strange Deed = "stranger" // DEL of what never was
	Repeat  Deed = "repeat"   // ADD of all that runs on a node, once more
	Stale   Deed = "stale"    // a DEL or GC that began before another ADD of the container, and comes after it
	Once    Deed = "once"     // a member that comes, goes, and is released
	Set     Deed = "set"      // one ADD of containers for several places, all or none; of some choices one container is bad
	Each    Deed = "each"     // the same, and of each whatever becomes of the others
	DelSet  Deed = "del-set"  // one DEL of the containers of several places that are on one node
)

// What befalls machines and processes.
const (
	Kill      Deed = "kill" // the agent; it starts again after a time
	Stop      Deed = "stop" // as an upgrade does
	Boot      Deed = "boot" // the machine anew
	Pause     Deed = "pause"
	Cut       Deed = "cut"      // from etcd, both ways
	CutBack   Deed = "cut-back" // answers only
	Lossy     Deed = "lossy"
	Hang      Deed = "hang"        // its member of etcd does
	Deny      Deed = "deny"        // its user in etcd may read and write nothing
	DenyPut   Deed = "deny-writes" // its user in etcd may write nothing
	Freeze    Deed = "freeze"      // its member of etcd answers reads with what is out of date, as former releases did
	Slow      Deed = "slow"
	Fill      Deed = "fill"         // the run directory
	Clear     Deed = "clear"        // the run directory loses its files
	BreakDisk Deed = "break-disk"   // one of some operations fails
	BreakCall Deed = "break-kernel" // the same of the kernel's, before or after its effect
	News      Deed = "news"         // the kernel's news come late, twice or never
	Sleep     Deed = "sleep"        // the machine is suspended
	Clock     Deed = "clock"        // the wall clock is stepped
	Clone     Deed = "clone"        // the machine is told that it was cloned
	Flush     Deed = "flush"        // somebody removes the fence's table
)

// What befalls etcd.
const (
	Outage  Deed = "outage"
	Leader  Deed = "leader" // another one, which extends all leases
	Alarm   Deed = "alarm"  // its quota is used up
	Defrag  Deed = "defragment"
	Compact Deed = "compact"
	Backup  Deed = "backup"
	Restore Deed = "restore" // of the last backup
	Revoke  Deed = "revoke"  // a node's session
)

// What an operator does.
const (
	Exclude Deed = "exclude"
	Include Deed = "include"
	Gateway Deed = "gateway" // moves to some address
	MTU     Deed = "mtu"
	Release Deed = "release" // a place's reservation
	Damage  Deed = "damage"  // a key of etcd's, by hand, and back
	Mangle  Deed = "mangle"  // another program writes its words onto the place's port
	DNS     Deed = "dns"     // changes, which only new containers get
	Version Deed = "version" // berthctl version
	Erase   Deed = "erase"   // a key of etcd's that Berth makes anew, by hand

	AddPool  Deed = "add-pool"    // the one that comes and goes, or takes it back into use
	Drain    Deed = "drain"       // it gives nothing anew
	Retire   Deed = "retire"      // drained, emptied and removed
	Range    Deed = "range"       // some stateful range comes or goes
	Fencing  Deed = "fencing"     // changes its mode
	Rights   Deed = "rights"      // are shorter or longer
	Rollback Deed = "rollback"    // of some changes of the configuration
	Reserve  Deed = "reserve"     // a member's address, before it runs
	Remove   Deed = "remove-node" // that is away
	Fix      Deed = "fix"         // doctor --fix
	Advice   Deed = "advice"      // what doctor advises is carried out
)

// String is the step as Parse reads it.
func (s Step) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "%s %s", s.At, s.Do)
	v := reflect.ValueOf(s)
	for i := range v.NumField() {
		word := v.Type().Field(i).Tag.Get("word")
		if word != "" && !v.Field(i).IsZero() {
			fmt.Fprintf(&text, " %s=%v", word, v.Field(i).Interface())
		}
	}
	return text.String()
}

// ParsePlan reads a plan, one step a line. Lines that begin with # say nothing.
func ParsePlan(text string) (Plan, error) {
	var plan Plan
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, err := parse(line)
		if err != nil {
			return nil, fmt.Errorf("line %d: %q: %w", i+1, line, err)
		}
		plan = append(plan, s)
	}
	return plan, nil
}

func parse(line string) (s Step, err error) {
	words := strings.Fields(line)
	if len(words) < 2 {
		return s, errors.New("want a time, what is done, and to what, as in: 3s delete place=db-1")
	}
	if s.At, err = time.ParseDuration(words[0]); err != nil {
		return s, err
	}
	s.Do = Deed(words[1])
	if deeds[s.Do] == nil {
		return s, fmt.Errorf("nobody knows how to %s", s.Do)
	}
	for _, word := range words[2:] {
		key, value, _ := strings.Cut(word, "=")
		switch key {
		case "place":
			s.Place = value
		case "node":
			s.Node = value
		case "point":
			s.Point = value
		case "for":
			s.For, err = time.ParseDuration(value)
		case "nth":
			s.Nth, err = strconv.Atoi(value)
		case "choice":
			s.Choice, err = strconv.Atoi(value)
		default:
			err = fmt.Errorf("what is %s? want place, node, for, point, nth or choice", key)
		}
		if err != nil {
			return s, err
		}
	}
	return s, nil
}

// A Plan is the steps of a run, in the order of their times.
type Plan []Step

func (p Plan) String() string {
	var text strings.Builder
	for _, s := range p {
		fmt.Fprintln(&text, s)
	}
	return text.String()
}

func byTime(a, b Step) int { return cmp.Compare(a.At, b.At) }
