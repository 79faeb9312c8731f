package model

import "testing"

var reservations = Reservations{Joins: 3, Lives: [2]int8{2, 2}, Epochs: 4, Ends: true}

func TestAReservationHasOneHolderAndNoLateDetachmentUndoesALaterAttachment(t *testing.T) {
	t.Parallel()
	holds(t, reservations)
}

func TestABreachOfReservationsIsFound(t *testing.T) {
	t.Parallel()
	breached := map[Breach]Model[reservationsState]{}
	for _, b := range []Breach{
		NoEpoch, SameEpochAgain, JournalAfterAnswer, CommitUnderAny, UnknownInFlight, UnknownAtSettling, DelOfAnyLife,
		OnlyHoldersCount, OnlyEpochsCount,
		NoNodeCompare, NoBlockCompare, NoIsolation,
	} {
		m := reservations
		m.Breach = b
		breached[b] = m
	}
	breaks(t, breached)
}
