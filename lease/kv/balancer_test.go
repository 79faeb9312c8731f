package kv

import (
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// chosen is how often each of three members is chosen for so many calls.
func chosen(p *picker, calls int, now time.Time) (times [3]int) {
	for range calls {
		c := p.choose(now)
		for i := range p.connected {
			if p.connected[i].member == c.member {
				times[i]++
			}
		}
	}
	return times
}

func TestCallsGoToMembersInTurnPastThoseThatLeftOneUnanswered(t *testing.T) {
	p := &picker{turn: new(atomic.Uint32), connected: []choice{{member: new(member)}, {member: new(member)}, {member: new(member)}}}
	unanswered, gaveUp, none := status.Error(codes.DeadlineExceeded, ""), status.Error(codes.Canceled, ""), status.Error(codes.Unavailable, "")
	for _, step := range []struct {
		what   string
		member int
		ends   error
		after  time.Duration
		want   func(times [3]int) bool
	}{
		{"all answer", 0, nil, 0, func(n [3]int) bool { return n == [3]int{2, 2, 2} }},
		{"a caller gave up", 0, gaveUp, 0, func(n [3]int) bool { return n == [3]int{2, 2, 2} }},
		{"one left a call unanswered", 0, unanswered, 0, func(n [3]int) bool { return n[0] == 0 && n[1] > 0 && n[2] > 0 }},
		{"another has no leader", 1, none, 0, func(n [3]int) bool { return n == [3]int{0, 0, 6} }},
		{"all left one unanswered", 2, unanswered, 0, func(n [3]int) bool { return n == [3]int{2, 2, 2} }},
		{"one answers again", 1, nil, 0, func(n [3]int) bool { return n == [3]int{0, 6, 0} }},
		{"it is long ago", 1, nil, silentFor + time.Second, func(n [3]int) bool { return n == [3]int{2, 2, 2} }},
	} {
		p.connected[step.member].note(step.ends)
		if n := chosen(p, 6, time.Now().Add(step.after)); !step.want(n) {
			t.Errorf("%s: they are chosen %v times", step.what, n)
		}
	}
}
