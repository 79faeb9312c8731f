package main

import (
	"fmt"
	"slices"

	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
)

// What is refused while an operation is switched off.
var withoutOperation = map[string]string{
	record.OperationRead: "CHECK of containers and \"berthctl version\", \"show\", \"get assignments\" and \"get reservations\" " +
		"are refused, and so is /v1/version",
	record.OperationInsert: "no container can start: ADD, \"berthctl insert\" and \"berthctl reserve\" are refused",
	record.OperationDelete: "the runtime cannot end containers (pods stay in Terminating): DEL, \"berthctl delete\", \"berthctl " +
		"release\" and \"berthctl node remove --force\" are refused",
}

// switchedOff warns of the operations that a change of the settings switches off.
func switchedOff(base, next *config.Config) (notes []string) {
	for _, operation := range base.Settings.Operations {
		if !slices.Contains(next.Settings.Operations, operation) {
			notes = append(notes, fmt.Sprintf("operation %s is switched off for the whole cluster: %s; \"berthctl apply\" and \"berthctl "+
				"rollback\" go on and switch it on again",
				operation, withoutOperation[operation]))
		}
	}
	return notes
}
