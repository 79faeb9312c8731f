package model

import "testing"

var rights = Rights{Joins: 3, Changes: 3}

func TestTwoNodesNeverPassTrafficForOneAddress(t *testing.T) {
	t.Parallel()
	holds(t, rights)
}

func TestInEvidenceModeTwoNodesPassTrafficOnlyWhileOneIsCutOff(t *testing.T) {
	t.Parallel()
	m := rights
	m.Evidence = true
	holds(t, m)
}

func TestANodeThatIsRemovedPassesNoTrafficForWhatAnotherHas(t *testing.T) {
	t.Parallel()
	for _, evidence := range []bool{false, true} {
		m := rights
		m.Evidence, m.Removals = evidence, true
		holds(t, m)
	}
}

func TestATakeoverThatComparesTheNodesKeyNeedNotCompareTheSessions(t *testing.T) {
	t.Parallel()
	m := rights
	m.Breach = NoAbsentCompare
	holds(t, m)
}

func TestABreachOfRightsIsFound(t *testing.T) {
	t.Parallel()
	breached := map[Breach]Model[rightsState]{}
	for _, b := range []Breach{
		NoGeneration, NoWait, NoTenth, WaitGoesOn, TwoWatches, NoNodeCompare, NoBlockCompare, OpenUnsettled, ArmAtAnswer, OneSlot,
		RenewalIsProof, KernelNotLimited, SettleBeforeJoin, NoIsolation, LateAnswerCounts,
	} {
		m := rights
		m.Breach = b
		breached[b] = m
	}
	breaks(t, breached)
}

func TestInEvidenceModeABreachOfRightsIsFound(t *testing.T) {
	t.Parallel()
	m := rights
	m.Evidence, m.Breach = true, NoIsolation
	breaks(t, map[Breach]Model[rightsState]{m.Breach: m})
}
