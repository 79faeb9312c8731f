package rundir

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/internal/task"
)

// settingsChanged is the kind of the finding that a settings file has changed since the agent read it.
const settingsChanged = "settings-changed"

// settingsEvery is how often that is checked.
const settingsEvery = 10 * time.Second

// watchSettings reports when the settings file changes after the start: it is read only once.
func (k *Keeper) watchSettings(ctx context.Context) error {
	if k.settingsFile == "" {
		return nil
	}
	then, err := k.stateOf(k.settingsFile)
	if err != nil {
		k.Log.Warn("the settings file cannot be read, so that its changes will not be reported: give its path with --settings-file",
			zap.Error(err))
	}
	return task.Every(ctx, settingsEvery, func() { k.compareSettings(then) })
}

// compareSettings compares the file with its state at the start. A file that cannot be read now is ignored.
func (k *Keeper) compareSettings(then fileState) {
	now, err := k.stateOf(k.settingsFile)
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

// A fileState identifies a version of a file; the zero one is that of a missing file.
type fileState struct {
	changed time.Time
	size    int64
}

func (k *Keeper) stateOf(path string) (fileState, error) {
	info, err := k.Disk.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return fileState{}, nil
	}
	if err != nil {
		return fileState{}, err
	}
	return fileState{info.Changed, info.Size}, nil
}
