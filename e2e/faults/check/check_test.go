package check

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"
)

const ms = time.Millisecond

var (
	evidence = Rules{Session: 3 * time.Second, AddressLease: 6 * time.Second}
	strict   = Rules{Strict: true, Session: 3 * time.Second, AddressLease: 6 * time.Second}
	address  = netip.MustParseAddr("10.0.0.5")
	other    = netip.MustParseAddr("10.0.0.6")
)

// A plot is a history in the making.
type plot struct {
	History
	macs map[string]MAC
}

func newPlot() *plot {
	return &plot{History: History{Whole: 50 * time.Second, End: 60 * time.Second}, macs: map[string]MAC{}}
}

func (p *plot) mac(container string) MAC {
	if _, ok := p.macs[container]; !ok {
		p.macs[container] = MAC{2, 0, 0, 0, 0, byte(len(p.macs) + 1)}
	}
	return p.macs[container]
}

// ask adds a request that took 100 ms. The container's name begins with its node, as in n1-a.
func (p *plot) ask(at time.Duration, verb Verb, container, member string, outcome Outcome, answered ...netip.Addr) {
	p.Operations = append(p.Operations, Operation{
		Verb: verb, Container: container, Node: container[:2], Member: member, MAC: p.mac(container),
		Begin: at, End: at + 100*ms, Outcome: outcome, Addresses: answered,
	})
}

// hear adds sightings, one each 50 ms.
func (p *plot) hear(container string, at netip.Addr, from, to time.Duration) {
	for t := from; t < to; t += 50 * ms {
		p.Sightings = append(p.Sightings, Sighting{Sent: t, At: t + ms, Address: at, MAC: p.mac(container)})
	}
}

func (p *plot) away(node, reason string, from, to time.Duration) {
	p.Absences = append(p.Absences, Absence{Node: node, Reason: reason, Begin: from, End: to})
}

// lives is a container's whole life: added, heard until it is deleted.
func (p *plot) lives(container, member string, at netip.Addr, from, to time.Duration) {
	p.ask(from-100*ms, Add, container, member, OK, at)
	p.hear(container, at, from, to)
	if to < p.End {
		p.ask(to, Del, container, member, OK)
	}
}

// wants fails the test unless exactly the violations of these rules are found, each of which tells of the containers.
func (p *plot) wants(t *testing.T, rules Rules, want ...Rule) []Violation {
	t.Helper()
	found, undecided := All(&p.History, rules)
	if undecided > 0 {
		t.Errorf("%d identities are undecided", undecided)
	}
	var got []string
	for _, v := range found {
		got = append(got, string(v.Rule))
	}
	if fmt.Sprint(got) != fmt.Sprint(want) && len(got)+len(want) > 0 {
		t.Errorf("the checker finds %q: want %q", got, want)
		for _, v := range found {
			t.Log(v)
		}
	}
	return found
}

func TestACleanHistoryPasses(t *testing.T) {
	for name, rules := range map[string]Rules{"evidence": evidence, "strict": strict} {
		t.Run(name, func(t *testing.T) {
			p := newPlot()
			p.lives("n1-a", "", address, time.Second, 10*time.Second)
			p.lives("n2-b", "", address, 13*time.Second, 60*time.Second)
			p.lives("n1-m", "db-0", other, time.Second, 5*time.Second)
			p.ask(6*time.Second, Add, "n2-m", "db-0", Refused)
			p.ask(7*time.Second, Del, "n2-m", "db-0", OK)
			p.lives("n3-m", "db-0", other, 8*time.Second, 60*time.Second)
			p.wants(t, rules)
		})
	}
}

func TestAnAddressThatTwoHaveIsFoundWithItsHolders(t *testing.T) {
	for name, rules := range map[string]Rules{"evidence": evidence, "strict": strict} {
		t.Run(name, func(t *testing.T) {
			p := newPlot()
			p.lives("n1-a", "", address, time.Second, 10*time.Second)
			p.lives("n2-b", "", address, 9*time.Second, 60*time.Second)
			v := p.wants(t, rules, Unique)
			if len(v) == 1 && (fmt.Sprint(v[0].Containers) != "[n1-a n2-b]" || v[0].Address != address || len(v[0].Evidence) == 0) {
				t.Errorf("it is told as %v", v[0])
			}
		})
	}
}

func TestAMomentWithTwoHoldersIsEnough(t *testing.T) {
	p := newPlot()
	p.lives("n1-a", "", address, time.Second, 10*time.Second)
	p.hear("n2-b", address, 5*time.Second, 5*time.Second+50*ms)
	p.wants(t, strict, Unique)
}

func TestAHolderFollowedByAnotherIsNoViolationHoweverCloseTheyAre(t *testing.T) {
	p := newPlot()
	p.lives("n1-a", "", address, time.Second, 10*time.Second)
	p.hear("n2-b", address, 10*time.Second, 59*time.Second) // its first request and the last of the other cross
	p.wants(t, strict)
}

func TestAMemberWithAnotherAddressIsFound(t *testing.T) {
	p := newPlot()
	p.lives("n1-m", "db-0", address, time.Second, 5*time.Second)
	p.lives("n2-m", "db-0", other, 7*time.Second, 60*time.Second)
	p.wants(t, strict, Kept)
	p.ask(6*time.Second, Release, "--", "db-0", OK)
	p.wants(t, strict)
}

func TestAReplicaWhoseAddIsRepeatedWithAnotherAnswerIsFound(t *testing.T) {
	p := newPlot()
	p.lives("n1-a", "", address, time.Second, 60*time.Second)
	p.hear("n1-a", other, 30*time.Second, 31*time.Second)
	p.ask(30*time.Second, Add, "n1-a", "", OK, other)
	p.wants(t, strict, Kept)
	p.away("n1", "partition", 10*time.Second, 25*time.Second) // it has lost the first one
	p.wants(t, strict)
}

func TestAContainerThatLivesAndIsNeverHeardIsLost(t *testing.T) {
	for name, c := range map[string]struct {
		until time.Duration
		away  bool
		want  []Rule
	}{
		"for long":               {30 * time.Second, false, []Rule{NotLost}},
		"for a moment":           {21 * time.Second, false, nil},
		"while its node is away": {30 * time.Second, true, nil},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlot()
			p.ask(20*time.Second, Add, "n1-a", "", OK, address)
			p.ask(c.until, Del, "n1-a", "", OK)
			if c.away {
				p.away("n1", "pause", 21*time.Second, 23*time.Second)
			}
			p.wants(t, strict, c.want...)
		})
	}
}

func TestARestoreForgetsTheAddressOnlyOfAMemberThatIsYoungerAndGone(t *testing.T) {
	for name, c := range map[string]struct {
		taken, restored time.Duration
		want            []Rule
	}{
		"younger and gone": {500 * ms, 6 * time.Second, nil},
		"older":            {3 * time.Second, 6 * time.Second, []Rule{Kept}},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlot()
			p.lives("n1-m", "db-0", address, time.Second, 5*time.Second)
			p.Restores = append(p.Restores, Restore{c.taken, c.restored})
			p.lives("n2-m", "db-0", other, 8*time.Second, 60*time.Second)
			p.wants(t, strict, c.want...)
		})
	}
}

func TestAContainerThatFallsSilentIsLost(t *testing.T) {
	silent := func(member string) *plot {
		p := newPlot()
		p.ask(900*ms, Add, "n1-a", member, OK, address)
		p.hear("n1-a", address, time.Second, 20*time.Second)
		return p
	}
	silent("").wants(t, strict, NotLost)
	silent("db-0").wants(t, strict, NotLost)

	rebooted := silent("")
	rebooted.Reboots = append(rebooted.Reboots, Reboot{"n1", 20 * time.Second})
	rebooted.wants(t, strict)

	deleting := silent("")
	deleting.ask(20*time.Second, Del, "n1-a", "", Lost)
	deleting.wants(t, strict)

	for name, c := range map[string]struct {
		away time.Duration
		want []Rule
	}{"longer than its right": {8 * time.Second, nil}, "shorter": {2 * time.Second, []Rule{NotLost}}} {
		t.Run("its node away for "+name, func(t *testing.T) {
			p := silent("")
			p.away("n1", "partition", 15*time.Second, 15*time.Second+c.away)
			p.wants(t, strict, c.want...)
		})
	}
	t.Run("a member that nobody succeeded", func(t *testing.T) {
		p := silent("db-0")
		p.away("n1", "partition", 15*time.Second, 30*time.Second)
		p.ask(15500*ms, Add, "n2-b", "db-0", Lost) // too early to take it
		p.wants(t, strict, NotLost)
		p.lives("n2-a", "db-0", address, 25*time.Second, 60*time.Second)
		p.wants(t, strict)
	})
}

func TestARestoreTakesBackOnlyWhatIsYoungerThanTheSnapshot(t *testing.T) {
	for name, c := range map[string]struct {
		taken time.Duration
		want  []Rule
	}{"younger": {500 * ms, nil}, "older": {5 * time.Second, []Rule{NotLost}}} {
		t.Run(name, func(t *testing.T) {
			p := newPlot()
			p.ask(900*ms, Add, "n1-a", "", OK, address)
			p.hear("n1-a", address, time.Second, 20*time.Second)
			p.Restores = append(p.Restores, Restore{c.taken, 20 * time.Second})
			p.wants(t, strict, c.want...)
		})
	}
}

func TestAReservationAttachedToTwoIsFoundThoughTheNetworkShowsNothing(t *testing.T) {
	p := newPlot()
	p.lives("n1-m", "db-0", address, time.Second, 3*time.Second)
	p.ask(20*time.Second, Add, "n2-m", "db-0", OK, address)
	p.hear("n2-m", address, 51*time.Second, 52*time.Second)
	p.ask(30*time.Second, Add, "n3-m", "db-0", OK, address)
	p.hear("n3-m", address, 53*time.Second, 54*time.Second)
	v := p.wants(t, strict, Register)
	if len(v) == 1 && (v[0].Containers[0] != "n3-m" || !strings.Contains(fmt.Sprint(v[0].Containers), "n2-m")) {
		t.Errorf("it is told as %v", v[0])
	}
}

func TestAnAttachmentOfUnknownOutcomeMayHaveHappenedOrNot(t *testing.T) {
	for _, took := range []bool{false, true} {
		p := newPlot()
		p.lives("n1-m", "db-0", address, time.Second, 3*time.Second)
		p.ask(4*time.Second, Add, "n2-m", "db-0", Lost)
		if took {
			p.hear("n2-m", address, 4*time.Second, 6*time.Second)
		}
		p.ask(6*time.Second, Del, "n2-m", "db-0", Lost)
		p.ask(7*time.Second, Del, "n2-m", "db-0", OK)
		p.lives("n3-m", "db-0", address, 8*time.Second, 60*time.Second)
		p.wants(t, strict)
	}
}

func TestAHundredRequestsOfUnknownOutcomeAreDecided(t *testing.T) {
	p := newPlot()
	for i := range 50 {
		at := time.Duration(i) * time.Second / 2
		c := fmt.Sprintf("n%d-%d", i%3+1, i)
		p.ask(at, Add, c, "db-0", Refused)
		p.ask(at+200*ms, Del, c, "db-0", Lost)
	}
	p.away("n1", "partition", 0, 30*time.Second)
	p.lives("n3-m", "db-0", address, 40*time.Second, 60*time.Second)
	p.wants(t, strict)
}
