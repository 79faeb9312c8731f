package model

import "testing"

var splits = Splits{Joins: 2, Changes: 3}

func TestAnAddressIsInOneAllocatorAndNoneIsLost(t *testing.T) {
	t.Parallel()
	holds(t, splits)
}

func TestABreachOfSplitsIsFound(t *testing.T) {
	t.Parallel()
	breached := map[Breach]Model[splitsState]{}
	for _, b := range []Breach{
		NoGeneration, SettleBeforeJoin, TransferKeeps, ReadSettles, ReleaseForgets, AgainAtSame, SettleGoesBack, AllocateUnsettled,
		WatchAddsNothing,
	} {
		m := splits
		m.Breach = b
		breached[b] = m
	}
	breaks(t, breached)
}
