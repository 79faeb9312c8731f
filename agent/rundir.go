package agent

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/internal/task"
)

// runDirEvery is how often the agent looks whether its run directory is as it has left it.
const runDirEvery = time.Second

const (
	findingJournal = "journal-behind"
	findingFull    = "journal-full"
	findingSocket  = "socket-gone"
)

// keepRunDir puts back what somebody has removed of the run directory while the agent runs, from what it has in memory, and
// tells what cannot be put back. It also does again what has failed of isolating containers.
func (a *Agent) keepRunDir(ctx context.Context) error {
	return task.Every(ctx, runDirEvery, func() {
		a.cutAgain()
		a.keepJournal()
		a.keepSocket(ctx)
		a.missEtcd()
	})
}

// missEtcd tells that the socket of this machine's own etcd is gone, which only that etcd can make.
func (a *Agent) missEtcd() {
	for _, endpoint := range a.Etcd.Endpoints {
		path, is := strings.CutPrefix(endpoint, "unix://")
		if !is {
			continue
		}
		var s unix.Stat_t
		if err := unix.Stat(path, &s); errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) {
			a.findings.Set(findingSocket, path,
				"somebody has removed the socket of etcd: berthctl does not reach it, nor does this agent once its connection ends",
				"restart berthd, or whoever runs that etcd; the containers stay as they are")
		} else {
			a.findings.Clear(findingSocket, path)
		}
	}
}

// keepJournal writes the journal anew where its file is gone or lacks something.
func (a *Agent) keepJournal() {
	wrong, err := a.journal.CatchUp()
	switch {
	case err != nil:
		a.findings.Set(findingJournal, a.Options.journal(),
			fmt.Sprintf("the journal lacks what this agent knows (%v), and cannot be written anew: %v; new ADDs are refused", wrong, err),
			"make room in the run directory, and let the agent write there; do not restart it before")
		return
	case wrong != nil:
		a.Log.Warn("wrote the journal anew, from memory; find out who has changed the run directory", zap.String("path", a.Options.journal()),
			zap.Error(wrong))
	}
	a.findings.Clear(findingJournal, a.Options.journal())
	if err := a.journal.Room(); err != nil {
		a.findings.Set(findingFull, a.Options.journal(), fmt.Sprintf("%v; new ADDs are refused, all else goes on", err),
			"make room in the run directory")
		return
	}
	a.findings.Clear(findingFull, a.Options.journal())
}

// keepSocket has the socket listen anew where its file is gone or another's, and the spool's directory made.
func (a *Agent) keepSocket(ctx context.Context) {
	if ctx.Err() != nil {
		return // the agent is ending, and so is its socket
	}
	l, err := a.socket.Mend()
	if err != nil {
		a.findings.Set(findingSocket, a.Socket(),
			fmt.Sprintf("somebody has removed the agent's socket or its spool, and they cannot be made anew: %v", err),
			"make room in the run directory, and let the agent write there")
		return
	}
	a.findings.Clear(findingSocket, a.Socket())
	if l == nil {
		return
	}
	a.Log.Warn("somebody has removed the agent's socket; it listens anew", zap.String("path", a.Socket()))
	a.background.Go(func() {
		if err := a.socket.Serve(ctx, l); err != nil {
			a.Log.Error("cannot serve on the socket that was made anew; it is made again", zap.Error(err))
		}
	})
}
