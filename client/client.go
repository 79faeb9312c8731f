package client

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/wire"
)

// DefaultSocket is where the agent listens, unless its --run-dir says otherwise.
const DefaultSocket = "/run/berth/berth.sock"

// MaxSet is how many containers one request may name.
const MaxSet = 1000

// patience is how long a call waits for an agent that is away, as one is that is being upgraded.
const patience = 5 * time.Second

// What the protocol says, as it says it.
type (
	// Select names a set of containers, wherever they run. What is left empty does not narrow it.
	Select = wire.Select
	// SetVersion tells whether a set of containers has completed its configuration update.
	SetVersion = wire.SetVersion
	// ContainerVersion is one container of a SetVersion.
	ContainerVersion = wire.ContainerVersion
	// NodeVersion is a live node, and the configuration revision that all its containers have.
	NodeVersion = wire.NodeVersion
	// Result is what a container has been given, or has given back.
	Result = wire.Result
	// Address is one of a Result, with the prefix length of its pool.
	Address = wire.Address
	// Route is one of a Result.
	Route = wire.Route
	// DNS is what a Result says of name resolution.
	DNS = wire.DNS
	// Error is what the agent answers where it did not do what it was asked: one of the codes below, or of the CNI
	// specification 1.1.0, section "Error", and words. Every method's error has one in its chain, but where the
	// program's own context has ended.
	Error = wire.Error
)

// Codes of an Error that a program may act upon.
const (
	CodeUnknown   = wire.CodeUnknown   // a container that Select names is not there
	CodeConfig    = wire.CodeConfig    // what was asked for cannot be
	CodeNetns     = wire.CodeNetns     // the network namespace is none
	CodeTryAgain  = wire.CodeTryAgain  // a transient condition, such as that the agent or etcd is away
	CodeOperation = wire.CodeOperation // the operation is switched off, or the set is none
	CodeInternal  = wire.CodeInternal  // a fault of the agent's
)

// A Client asks the agent at one socket. It holds no connection, and is safe for concurrent use.
type Client struct{ socket string }

// New makes a Client. The empty path means DefaultSocket.
func New(socket string) *Client {
	if socket == "" {
		socket = DefaultSocket
	}
	return &Client{socket}
}

// Version tells whether a set of containers, anywhere in the cluster, has completed its configuration update.
func (c *Client) Version(ctx context.Context, set Select) (*SetVersion, error) {
	response, err := c.ask(ctx, &wire.Request{Operation: wire.Read, Select: &set}, nil)
	if err != nil {
		return nil, err
	}
	if response.Set == nil {
		return nil, wire.Errorf(wire.CodeVersion, "the agent does not know the version of a set: upgrade it")
	}
	return response.Set, nil
}

// Node is what this node is called in the cluster.
func (c *Client) Node(ctx context.Context) (name string, err error) {
	response, err := c.ask(ctx, &wire.Request{Operation: wire.Read}, nil)
	if err != nil {
		return "", err
	}
	if response.Node == "" {
		return "", wire.Errorf(wire.CodeVersion, "the agent does not tell its node's name: upgrade it")
	}
	return response.Node, nil
}

// InsertOptions say how a set is inserted.
type InsertOptions struct {
	Each bool // do what can be done, instead of all or nothing: each Result then has its own Error
}

// Insert gives 1 to MaxSet containers of this node their addresses, and, in the role Interface, their interfaces. The
// results are in the order of the containers. Unless Each is set, an error means that nothing was done. Repeating it
// is harmless.
func (c *Client) Insert(ctx context.Context, containers []Container, o InsertOptions) ([]Result, error) {
	members, files, err := open(containers)
	defer closeAll(files)
	if err != nil {
		return nil, err
	}
	return c.results(ctx, &wire.Request{Operation: wire.Insert, Containers: members, Each: o.Each}, files)
}

// DeleteOptions say how a set is deleted.
type DeleteOptions struct {
	Each    bool // each Result has its own Error, instead of one error for all
	DryRun  bool // do nothing, and only say what would be given back
	Release bool // stateful members give their reservations up, too
}

// Delete takes back what containers of this node have, member by member; Network, ID and Interface of each name it.
// The results, in the order of the containers, say what was given back; one that has no Class had nothing on this
// node, which is a success. Repeating it is harmless.
func (c *Client) Delete(ctx context.Context, containers []Container, o DeleteOptions) ([]Result, error) {
	members := make([]wire.Container, len(containers))
	for i, each := range containers {
		members[i] = each.wire()
	}
	return c.results(ctx, &wire.Request{Operation: wire.Delete, Containers: members, Each: o.Each, DryRun: o.DryRun, Release: o.Release}, nil)
}

func (c *Client) results(ctx context.Context, r *wire.Request, files []*os.File) ([]Result, error) {
	response, err := c.ask(ctx, r, files)
	if err != nil {
		return nil, err
	}
	if len(response.Results) != len(r.Containers) {
		return nil, wire.Errorf(wire.CodeInternal, "the agent answers for %d of %d containers", len(response.Results), len(r.Containers))
	}
	return response.Results, nil
}

// ask sends a request and turns whatever keeps it from being done into an Error.
func (c *Client) ask(ctx context.Context, r *wire.Request, files []*os.File) (*wire.Response, error) {
	r.Started = int64(clock.Boottime())
	response, err := wire.Call(ctx, c.socket, patience, r, files)
	switch {
	case ctx.Err() != nil && err != nil:
		return nil, fmt.Errorf("client: %s: %w", r.Operation, ctx.Err())
	case errors.Is(err, wire.ErrAway):
		return nil, fmt.Errorf("client: %s: %w", r.Operation, wire.Errorf(wire.CodeTryAgain, "%w", err))
	case err != nil:
		return nil, fmt.Errorf("client: %s: %w", r.Operation, wire.Errorf(wire.CodeIO, "%w", err))
	case response.Error != nil:
		return nil, fmt.Errorf("client: %s: %w", r.Operation, response.Error)
	}
	return response, nil
}
