package model

import "testing"

func TestAnEtcdRestoredUnderANewIDGivesNothingTwice(t *testing.T) {
	t.Parallel()
	holds(t, Restore{How: NewID, Revisions: 7})
	holds(t, Restore{How: NewID, Revisions: 8, Owned: true})
}

func TestAnEtcdRestoredUnderItsFormerIDAndVoidedGivesNothingTwice(t *testing.T) {
	t.Parallel()
	holds(t, Restore{How: Voided, Revisions: 7})
	holds(t, Restore{How: Voided, Revisions: 7, Owned: true})
}

func TestAnEtcdRestoredUnderItsFormerIDOnceTheRightsHaveRunOutGivesNothingTwice(t *testing.T) {
	t.Parallel()
	holds(t, Restore{How: Awaited, Revisions: 6})
	holds(t, Restore{How: Awaited, Revisions: 6, Owned: true})
}

func TestANodeThatIsRemovedInARecoveryGivesNothingTwice(t *testing.T) {
	t.Parallel()
	holds(t, Restore{How: NewID, Revisions: 8, Owned: true, Removals: true})
	holds(t, Restore{How: Voided, Revisions: 8, Owned: true, Removals: true})
}

// This is why a restore must use a new cluster token: what happens before a node has seen revisions go back, nobody
// can call back.
func TestVoidingByTheNodesAloneDoesNotSaveARestoreUnderTheFormerID(t *testing.T) {
	t.Parallel()
	finds(t, Restore{How: SameID, Revisions: 7})
}

func TestABreachOfRestoringIsFound(t *testing.T) {
	t.Parallel()
	breached := map[Breach]Model[restoreState]{}
	for _, m := range []Restore{
		{Breach: NoClusterCompare, How: Voided, Revisions: 7},
		{Breach: ProofOfAnyCluster, How: NewID, Revisions: 8},
		{Breach: AnswerOfAnyCluster, How: NewID, Revisions: 7},
		{Breach: AcceptAtOnce, How: NewID, Revisions: 8},
		{Breach: ClaimInRecovery, How: NewID, Revisions: 8},
		{Breach: UseInRecovery, How: NewID, Revisions: 7, Owned: true},
		{Breach: OpenInRecovery, How: NewID, Revisions: 7, Owned: true},
		{Breach: GoesOnLate, How: Awaited, Revisions: 6},
		{Breach: NoVoid, How: NewID, Revisions: 8, Owned: true},
		{Breach: NoAssert, How: NewID, Revisions: 7},
		{Breach: AssertOver, How: NewID, Revisions: 8, Owned: true},
		{Breach: NoIsolation, How: NewID, Revisions: 8, Owned: true},
		{Breach: LateAnswerCounts, How: NewID, Revisions: 7},
	} {
		breached[m.Breach] = m
	}
	breaks(t, breached)
}
