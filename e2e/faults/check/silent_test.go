package check

import (
	"testing"
	"time"
)

// answers adds a container's life in which every request is answered but for those that silent says.
func (p *plot) answers(container, member string, silent func(at time.Duration) bool) {
	p.ask(900*ms, Add, container, member, OK, address)
	for at := time.Second; at < p.End; at += 50 * ms {
		if silent(at) {
			p.Missed = append(p.Missed, Miss{Sent: at, Address: address, To: p.mac(container)})
		} else {
			p.hear(container, address, at, at+1)
		}
	}
}

func during(from, to time.Duration) func(time.Duration) bool {
	return func(at time.Duration) bool { return at >= from && at < to }
}

func TestAContainerThatIsSilentForAWhileWithItsRightIsFound(t *testing.T) {
	p := newPlot()
	p.answers("n1-a", "", during(20*time.Second, 21*time.Second))
	p.wants(t, strict, Silent)
	p.wants(t, evidence, Silent)
}

func TestARequestToAFormerHolderIsNoSilenceOfThePresentOne(t *testing.T) {
	for to, wants := range map[string][]Rule{"n2-a": nil, "n1-a": {Silent}} {
		p := newPlot()
		p.answers("n1-a", "", func(time.Duration) bool { return false })
		for at := 20 * time.Second; at < 30*time.Second; at += 100 * ms {
			p.Missed = append(p.Missed, Miss{Sent: at + 1, Address: address, To: p.mac(to)})
		}
		p.wants(t, evidence, wants...)
	}
}

func TestOneLostRequestIsNoSilence(t *testing.T) {
	p := newPlot()
	p.answers("n1-a", "", during(20*time.Second, 20*time.Second+1))
	p.wants(t, strict)
}

func TestAFenceThatClosesForAMomentAtEachRenewalIsFound(t *testing.T) {
	p := newPlot()
	p.answers("n1-m", "db-0", func(at time.Duration) bool { return at%(3*time.Second) == 0 })
	p.wants(t, strict, Silent)
}

func TestASilenceThatThePlanExplainsIsNone(t *testing.T) {
	for name, befalls := range map[string]func(*plot){
		"the right has run out":   func(p *plot) { p.away("n1", "partition", 13*time.Second, 22*time.Second) },
		"the clock has jumped":    func(p *plot) { p.away("n1", "clock", 20*time.Second, 21*time.Second) },
		"the session was revoked": func(p *plot) { p.Revocations = append(p.Revocations, Revocation{"n1", 20 * time.Second}) },
		"etcd was restored":       func(p *plot) { p.Restores = append(p.Restores, Restore{19 * time.Second, 20 * time.Second}) },
	} {
		t.Run(name, func(t *testing.T) {
			p := newPlot()
			p.answers("n1-m", "db-0", during(20500*ms, 21500*ms))
			p.wants(t, strict, Silent)
			befalls(p)
			p.wants(t, strict)
		})
	}
}

func TestAKilledAgentExcusesNoSilenceOfItsContainers(t *testing.T) {
	p := newPlot()
	p.answers("n1-a", "", during(20*time.Second, 21*time.Second))
	p.away("n1", "kill", 19*time.Second, 22*time.Second)
	p.wants(t, strict, Silent)
}
