package rundir

import (
	"context"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/internal/task"
)

// settingsChanged is the kind of finding about a file of settings that this agent has not read as it is now.
const settingsChanged = "settings-changed"

// settingsEvery is how often that is looked for.
const settingsEvery = 10 * time.Second

// watchSettings tells when a file that this agent got its settings from was changed after it has started: they are read once.
func (k *Keeper) watchSettings(ctx context.Context) error {
	if k.settingsFile == "" {
		return nil
	}
	then, err := stateOf(k.settingsFile)
	if err != nil {
		k.Log.Warn("the file of settings cannot be looked at, so that its changes will not be told: give its path with --settings-file",
			zap.Error(err))
	}
	return task.Every(ctx, settingsEvery, func() { k.compareSettings(then) })
}

// compareSettings compares the file with what it was when this agent started. One that cannot be read now tells nothing.
func (k *Keeper) compareSettings(then fileState) {
	now, err := stateOf(k.settingsFile)
	switch {
	case err != nil:
	case now == then:
		k.Findings.Clear(settingsChanged, k.settingsFile)
	default:
		k.Findings.Set(settingsChanged, k.settingsFile,
			fmt.Sprintf("it was changed at %s, and this agent goes by what it said when it started", now.changed.Format(time.RFC3339)),
			"restart the agent (systemctl restart berthd, or kubectl rollout restart its DaemonSet): that ends no container")
	}
}

// A fileState tells versions of a file apart; the zero one is that of a file that is not there.
type fileState struct {
	changed time.Time
	size    int64
}

func stateOf(path string) (fileState, error) {
	info, err := os.Stat(path)
	if os.IsNotExist(err) {
		return fileState{}, nil
	}
	if err != nil {
		return fileState{}, err
	}
	return fileState{info.ModTime().UTC(), info.Size()}, nil
}
