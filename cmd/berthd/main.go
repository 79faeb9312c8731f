// Command berthd is a node's agent: it gives this node's containers their addresses and wires them.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"regexp"
	"syscall"

	"github.com/spf13/pflag"
	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent"
	"github.com/berth-ipam/berth/lease/embedded"
)

// version is stamped by the build.
var version = "dev"

func main() {
	o, err := parse(os.Args[1:])
	switch {
	case errors.Is(err, pflag.ErrHelp):
		return
	case err != nil:
		fmt.Fprintln(os.Stderr, "berthd:", inWords(err))
		os.Exit(2)
	case o.showVersion:
		fmt.Println("berthd", version)
		return
	}
	if err := run(o); err != nil {
		fmt.Fprintln(os.Stderr, "berthd:", inWords(err))
		os.Exit(1)
	}
}

// The package prefixes of errors are not shown to operators.
var origin = regexp.MustCompile(`(^|: )(?:lease|agent): `)

func inWords(err error) string { return origin.ReplaceAllString(err.Error(), "$1") }

// run serves until a signal. Stopping revokes nothing.
func run(o *options) error {
	log, err := o.log.Build()
	if err != nil {
		return err
	}
	defer log.Sync() //nolint:errcheck // standard error cannot be synced everywhere
	for _, warning := range o.warnings {
		log.Warn(warning)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	supervisor := newSupervisor()
	untold := func(err error) { log.Warn("cannot tell the supervisor: look at NOTIFY_SOCKET", zap.Error(err)) }
	supervisor.starting(ctx, untold)

	locks, err := o.lock(log)
	if err != nil {
		return err
	}
	defer locks.release()
	if len(o.etcd.Endpoints) == 0 {
		server, err := embedded.Start(ctx, o.embedded(log))
		if err != nil {
			return err
		}
		defer server.Stop()
		o.etcd.Endpoints = server.Endpoints()
		o.agent.Alone = len(o.embeddedListen) == 0
		log.Info("serving an etcd of this machine's own", zap.Strings("endpoints", server.Endpoints()), zap.String("data", o.dataDir))
	}
	o.agent.Log, o.agent.Etcd = log, *o.etcd
	o.agent.Ready = func() {
		if err := supervisor.serving(); err != nil {
			untold(err)
		}
	}
	a, err := agent.New(o.agent)
	if err != nil {
		return err
	}
	log.Info("agent", zap.String("node", o.agent.Name), zap.String("socket", o.agent.Socket()), zap.String("version", version))
	return errors.Join(a.Run(ctx), a.Close())
}
