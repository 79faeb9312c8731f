package check

import (
	"testing"
	"time"
)

// leads adds where a node's kernel leads to the address, one place after another, each from its time on until the next one's.
func (p *plot) leads(node string, to ...way) {
	for i, w := range to {
		end := p.End
		if i+1 < len(to) {
			end = to[i+1].from - 50*ms
		}
		p.Ways = append(p.Ways, Way{Node: node, Address: address, To: w.to, Begin: w.from, End: end})
	}
}

// A way is where a route leads from some time on.
type way struct {
	from time.Duration
	to   string
}

// wanders is a member that is on n1 until 10 s, and on n2 from 12 s on. The route of n3 is n1's, and follows when it is told.
func wanders(follows time.Duration) *plot {
	p := newPlot()
	p.lives("n1-m", "db-0", address, s, 10*s)
	p.lives("n2-m", "db-0", address, 12*s, 60*s)
	p.leads("n1", way{s, "n1"}, way{10 * s, ""}, way{12 * s, "n2"})
	p.leads("n2", way{s, "n1"}, way{12 * s, "n2"})
	p.leads("n3", way{s, "n1"}, way{follows, "n2"})
	return p
}

func TestARouteThatDoesNotFollowAMemberInTimeIsFound(t *testing.T) {
	for name, c := range map[string]struct {
		follows time.Duration
		want    []Rule
	}{
		"in time": {12*s + 300*ms, nil},
		"late":    {15 * s, []Rule{Led}},
		"never":   {70 * s, []Rule{Led}},
	} {
		t.Run(name, func(t *testing.T) {
			wanders(c.follows).wants(t, strict, c.want...)
			wanders(c.follows).wants(t, evidence, c.want...)
		})
	}
}

func TestARouteToNowhereIsNoneThatLeadsToTheMember(t *testing.T) {
	p := newPlot()
	p.lives("n1-m", "db-0", address, s, 60*s)
	p.leads("n2", way{ms, ""}, way{2 * s, "n1"}, way{30 * s, ""}, way{30*s + 200*ms, "n1"},
		way{40 * s, ""}, way{41 * s, "n3"}, way{42 * s, "n1"})
	if v := p.wants(t, strict, Led); len(v) == 1 && v[0].At != 42*s-50*ms {
		t.Errorf("it is told as %v", v[0])
	}
}

func TestALateRouteIsExcusedWhileItsNodeCannotKnowAndNoLonger(t *testing.T) {
	fault := func(what, node string, from, to time.Duration) func(*plot) {
		return func(p *plot) { p.Faults = append(p.Faults, Fault{What: what, Node: node, Begin: from, End: to}) }
	}
	away := func(node string) func(*plot) { return func(p *plot) { p.away(node, "cut off", 11*s, 20*s) } }
	for name, c := range map[string]struct {
		befalls func(*plot)
		follows time.Duration
		want    []Rule
	}{
		"its node is cut off":                  {away("n3"), 21 * s, nil},
		"and follows late":                     {away("n3"), 30 * s, []Rule{Led}},
		"another is cut off":                   {away("n4"), 21 * s, []Rule{Led}},
		"a member of etcd hangs":               {fault("etcd-pause", "", 11*s, 40*s), 27 * s, nil},
		"for longer than a watch waits":        {fault("etcd-pause", "", 11*s, 40*s), 30 * s, []Rule{Led}},
		"it has hung for a moment":             {fault("etcd-pause", "", 11*s, 12*s), 27 * s, []Rule{Led}},
		"its way to one is cut":                {fault("partition", "n3", 11*s, 40*s), 27 * s, nil},
		"another's is":                         {fault("partition", "n4", 11*s, 40*s), 27 * s, []Rule{Led}},
		"its disk is full":                     {fault("disk", "n3", 11*s, 40*s), 27 * s, []Rule{Led}},
		"etcd is restored to what it was then": {func(p *plot) { p.Restores = append(p.Restores, Restore{9 * s, 13 * s}) }, 40 * s, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := wanders(c.follows)
			c.befalls(p)
			p.wants(t, evidence, c.want...)
		})
	}
}

func TestARouteMayBeLateWhileItsMemberIsAskedForElsewhere(t *testing.T) {
	p := wanders(15 * s)
	p.ask(12100*ms, Add, "n4-m", "db-0", Refused) // it may have been n4's for a while
	p.wants(t, strict)
	if f := Followed(&p.History, strict); f.Short == 0 || f.All == 0 {
		t.Errorf("it is summed up as %+v", f)
	}
}

func TestASlowMachinesRoutesHaveMoreTime(t *testing.T) {
	p := wanders(15 * s)
	p.turns(slowIn(0, p.End, 8))
	p.wants(t, strict)
}

func TestAContainerThatSomeNodeDoesNotReachInTheEndIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		vias []string
		want []Rule
	}{"each does": {[]string{"n1", "n2"}, nil}, "one does not": {[]string{"n1"}, []Rule{NotLost}}} {
		t.Run(name, func(t *testing.T) {
			p := newPlot()
			p.Nodes = []string{"n1", "n2"}
			p.ask(900*ms, Add, "n1-a", "", OK, address)
			for _, via := range c.vias {
				for at := s; at < p.End; at += 50 * ms {
					p.Sightings = append(p.Sightings, Sighting{Sent: at, At: at + ms, Address: address, MAC: p.mac("n1-a"), Via: via})
				}
			}
			p.wants(t, strict, c.want...)
		})
	}
}
