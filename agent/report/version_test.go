package report

import (
	"fmt"
	"testing"

	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/rollout"
)

func TestASetThatNamesNothingAndReadingThatIsSwitchedOffAreToldApart(t *testing.T) {
	off := record.DefaultSettings()
	off.Operations = nil
	for want, err := range map[int]error{
		wire.CodeOperation: fmt.Errorf("judge: %w", off.Allow(record.OperationRead)),
		wire.CodeUnknown:   &rollout.SelectorError{What: rollout.ByNode, Name: "n9"},
	} {
		if got := wire.AsError(versionError(err)); int(got.Code) != want {
			t.Errorf("%v has code %d, want %d", err, got.Code, want)
		}
	}
}
