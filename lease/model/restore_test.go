package model

import "testing"

func TestAnEtcdRestoredUnderANewIDGivesNothingTwice(t *testing.T) {
	t.Parallel()
	holds(t, Restore{How: NewID, Revisions: 8})
}

func TestAnEtcdRestoredUnderItsFormerIDAndVoidedGivesNothingTwice(t *testing.T) {
	t.Parallel()
	holds(t, Restore{How: Voided, Revisions: 8})
}

func TestAnEtcdRestoredUnderItsFormerIDOnceTheRightsHaveRunOutGivesNothingTwice(t *testing.T) {
	t.Parallel()
	holds(t, Restore{How: Awaited, Revisions: 7})
}

// This is why a restore must use a new cluster token: what happens before a node has seen revisions go back, nobody
// can call back.
func TestVoidingByTheNodesAloneDoesNotSaveARestoreUnderTheFormerID(t *testing.T) {
	t.Parallel()
	m := Restore{How: SameID, Revisions: 8}
	breaks(t, map[Breach]Model[restoreState]{m.Breach: m})
}

func TestABreachOfRestoringIsFound(t *testing.T) {
	t.Parallel()
	breached := map[Breach]Model[restoreState]{
		NoClusterCompare: Restore{How: Voided, Revisions: 8, Breach: NoClusterCompare},
		GoesOnLate:       Restore{How: Awaited, Revisions: 7, Breach: GoesOnLate},
		AssertOver:       Restore{How: NewID, Revisions: 9, Breach: AssertOver},
	}
	for _, b := range []Breach{
		ProofOfAnyCluster, AnswerOfAnyCluster, AcceptAtOnce, ClaimInRecovery, UseInRecovery, NoAssert, NoIsolation, LateAnswerCounts,
	} {
		breached[b] = Restore{How: NewID, Revisions: 8, Breach: b}
	}
	breaks(t, breached)
}
