package main

import (
	"context"
	"errors"
	"os"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"

	"github.com/berth-ipam/berth/internal/wire"
)

const (
	redial     = 5 * time.Second  // how long an agent that is away is waited for: an upgrade takes less
	answerTime = 60 * time.Second // for an answer, redial included; the agent gives up before
	statusTime = 10 * time.Second // the same for STATUS, which runtimes ask often
)

// A plugin is one run of this program.
type plugin struct {
	began time.Duration // CLOCK_BOOTTIME
	spec  string        // the version of the CNI specification that is spoken
}

// A call is one verb with its parameters and its configuration.
type call struct {
	*skel.CmdArgs
	*config
	verb   string
	began  time.Duration
	before *types100.Result // of the plugins before this one in the list
}

// verb makes one of skel's functions: it reads the configuration, and gives every error its code.
func (p *plugin) verb(verb string, do func(*call) error) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) error {
		config, err := parseConfig(args.StdinData)
		if err == nil {
			p.spec = config.CNIVersion
			err = do(&call{CmdArgs: args, config: config, verb: verb, began: p.began})
		}
		if err != nil {
			e := wire.AsError(err)
			return types.NewError(uint(e.Code), e.Message, e.Details)
		}
		return nil
	}
}

func add(c *call) error {
	container, dns, err := c.wanted()
	if err != nil {
		return err
	}
	netns, err := c.openNetns()
	if err != nil {
		return err
	}
	defer netns.Close()
	container.NetnsFile = 1
	response, err := c.ask(wire.Insert, answerTime, redial, container, netns)
	if err != nil {
		return unanswered(wire.CodeTryAgain, err)
	}
	if len(response.Results) != 1 {
		return wire.Errorf(wire.CodeInternal, "the agent at %s has answered %d results for one container", c.Socket, len(response.Results))
	}
	return c.print(response.Results[0], dns)
}

func check(c *call) error {
	container := c.container()
	var err error
	if container.Previous, err = c.previously(); err != nil {
		return err
	}
	netns, err := c.openNetns()
	if err != nil {
		return err
	}
	defer netns.Close()
	container.NetnsFile = 1
	_, err = c.ask(wire.Read, answerTime, redial, container, netns)
	return unanswered(wire.CodeTryAgain, err)
}

func gc(c *call) error {
	valid, present, err := c.validAttachments()
	if err != nil || !present {
		return err // without the list nobody knows what is stale
	}
	_, err = c.send(&wire.Request{Operation: wire.GC, Network: c.Name, Valid: valid}, answerTime, redial)
	return unanswered(wire.CodeTryAgain, err)
}

func status(c *call) error {
	if err := c.serviceable(); err != nil {
		return err
	}
	_, err := c.send(&wire.Request{Operation: wire.Status, Network: c.Name, Pool: c.Pool, Role: c.role}, statusTime, redial)
	return unanswered(wire.CodeUnavailable, err)
}

// ask sends an operation on one container.
func (c *call) ask(operation string, limit, wait time.Duration, container wire.Container, files ...*os.File) (*wire.Response, error) {
	return c.send(&wire.Request{Operation: operation, Containers: []wire.Container{container}}, limit, wait, files...)
}

// send sends a request and returns the agent's answer. An answer that is an error is a wire.Error; every other error
// means that there was none, within limit in all, with up to wait of it for an agent that is away.
func (c *call) send(r *wire.Request, limit, wait time.Duration, files ...*os.File) (*wire.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	r.Verb, r.Started = c.verb, int64(c.began)
	response, err := wire.Call(ctx, c.Socket, wait, r, files)
	if err != nil {
		return nil, err
	}
	if response.Error != nil {
		return nil, response.Error
	}
	return response, nil
}

// answered reports whether err is the agent's own.
func answered(err error) bool {
	_, ok := errors.AsType[*wire.Error](err)
	return ok
}

// unanswered gives err a code, where it is not the agent's own: code where the agent is away or busy, that of an I/O
// failure where it cannot be asked.
func unanswered(code int, err error) error {
	switch {
	case err == nil || answered(err):
		return err
	case code == wire.CodeUnavailable, errors.Is(err, wire.ErrAway), errors.Is(err, context.DeadlineExceeded):
		return wire.Errorf(code, "%w", err)
	}
	return wire.Errorf(wire.CodeIO, "%w", err)
}
