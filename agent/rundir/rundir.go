package rundir

import (
	"context"
	"fmt"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/isolation"
	"github.com/berth-ipam/berth/agent/node"
	"github.com/berth-ipam/berth/agent/server"
	"github.com/berth-ipam/berth/internal/disk"
	"github.com/berth-ipam/berth/internal/task"
)

// A Keeper restores what is removed of the run directory, and reports changes of the settings file.
type Keeper struct {
	*node.Node
	isolator     *isolation.Isolator
	socket       *server.Socket
	settingsFile string
}

// New makes a keeper. settings is the file that the flags come from; empty: there is none.
func New(i *isolation.Isolator, s *server.Socket, settings string) *Keeper {
	return &Keeper{Node: i.Node, isolator: i, socket: s, settingsFile: settings}
}

// runDirEvery is how often the run directory is compared.
const runDirEvery = time.Second

const (
	findingJournal = "journal-behind"
	findingFull    = "journal-full"
	findingSocket  = "socket-gone"
)

// keepRunDir restores from memory what was removed of the run directory, and reports what cannot be restored. It also retries
// isolations that have failed.
func (k *Keeper) keepRunDir(ctx context.Context) error {
	return task.Every(ctx, runDirEvery, func() {
		k.isolator.CutAgain()
		k.keepJournal()
		k.keepSocket(ctx)
		k.reportMissingEtcd()
	})
}

// reportMissingEtcd reports that the socket of embedded etcd is gone, which only etcd itself can make.
func (k *Keeper) reportMissingEtcd() {
	for _, endpoint := range k.Etcd.Endpoints {
		path, is := strings.CutPrefix(endpoint, "unix://")
		if !is {
			continue
		}
		if _, err := k.Disk.Stat(path); disk.Gone(err) {
			k.Findings.Set(findingSocket, path,
				"somebody has removed the socket of etcd: berthctl does not reach it, nor does this agent once its connection ends",
				"restart berthd, or whoever runs that etcd; the containers stay as they are")
		} else {
			k.Findings.Clear(findingSocket, path)
		}
	}
}

// keepJournal rewrites the journal where its file is gone or incomplete.
func (k *Keeper) keepJournal() {
	wrong, err := k.Journal.CatchUp()
	switch {
	case err != nil:
		k.Findings.Set(findingJournal, k.Journal.Path(),
			fmt.Sprintf("the journal lacks what this agent knows (%v), and cannot be written anew: %v; new ADDs are refused", wrong, err),
			"make room in the run directory, and let the agent write there; do not restart it before")
		return
	case wrong != nil:
		k.Log.Warn("rewrote the journal from memory; find out who has changed the run directory", zap.String("path", k.Journal.Path()),
			zap.Error(wrong))
	}
	k.Findings.Clear(findingJournal, k.Journal.Path())
	if err := k.Journal.Room(); err != nil {
		k.Findings.Set(findingFull, k.Journal.Path(), fmt.Sprintf("%v; new ADDs are refused, all else goes on", err),
			"make room in the run directory")
		return
	}
	k.Findings.Clear(findingFull, k.Journal.Path())
}

// keepSocket listens again where the socket's file is gone or another's, and restores the spool's directory.
func (k *Keeper) keepSocket(ctx context.Context) {
	if ctx.Err() != nil {
		return // the agent is ending, and so is its socket
	}
	l, err := k.socket.Repair()
	if err != nil {
		k.Findings.Set(findingSocket, k.socket.Path,
			fmt.Sprintf("somebody has removed the agent's socket or its spool, and they cannot be made anew: %v", err),
			"make room in the run directory, and let the agent write there")
		return
	}
	k.Findings.Clear(findingSocket, k.socket.Path)
	if l == nil {
		return
	}
	k.Log.Warn("the agent's socket was removed by hand; the agent listens again", zap.String("path", k.socket.Path))
	k.Background.Go(func() {
		if err := k.socket.Serve(ctx, l); err != nil {
			k.Log.Error("cannot serve on the restored socket; it is tried again", zap.Error(err))
		}
	})
}
