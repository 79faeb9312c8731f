package main

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/client"
)

// What can become of a container of a set.
const (
	stateInserted = "inserted"
	stateDeleted  = "deleted"
	stateAbsent   = "absent" // it has nothing on this node
	stateFound    = "found"  // a dry run: it would be deleted
	stateFailed   = "failed"
)

// An outcome is what has become of one container of a set.
type outcome struct {
	Network   string           `json:"network"`
	ID        string           `json:"id"`
	Interface string           `json:"interface"`
	State     string           `json:"state"`
	Class     string           `json:"class,omitempty"`
	Pool      string           `json:"pool,omitempty"`
	Addresses []client.Address `json:"addresses,omitempty"` // given, or given back
	MAC       string           `json:"mac,omitempty"`
	Port      string           `json:"port,omitempty"` // the host's side of the interface
	Bridge    string           `json:"bridge,omitempty"`
	Error     *client.Error    `json:"error,omitempty"`
}

func outcomes(set []client.Container, results []client.Result, state string) []outcome {
	all := make([]outcome, len(set))
	for i, r := range results {
		c := set[i].WithDefaults()
		o := outcome{
			Network: c.Network, ID: c.ID, Interface: c.Interface, State: state, Class: r.Class, Pool: r.Pool,
			Addresses: r.Addresses, MAC: r.MAC, Port: r.HostName, Bridge: r.Bridge, Error: r.Error,
		}
		switch {
		case r.Error != nil:
			o.State = stateFailed
		case r.Class == "" && state != stateInserted:
			o.State = stateAbsent
		}
		all[i] = o
	}
	return all
}

// tellOutcomes prints a set. It fails if one of its containers has.
func (c *ctl) tellOutcomes(all []outcome) error {
	t := table{header: []string{"CONTAINER", "NETWORK", "INTERFACE", "STATE", "CLASS", "POOL", "ADDRESSES", "PORT", "REASON"}}
	failed := 0
	for _, o := range all {
		addresses := make([]string, len(o.Addresses))
		for i, a := range o.Addresses {
			addresses[i] = a.Address.Addr().String()
		}
		reason := ""
		if o.Error != nil {
			failed++
			reason = o.Error.Error()
		}
		t.rows = append(t.rows, []string{o.ID, o.Network, o.Interface, o.State, o.Class, o.Pool, strings.Join(addresses, ","), o.Port, reason})
	}
	err := c.print(map[string][]outcome{"containers": all}, func(w io.Writer) error { return t.write(w) })
	if err == nil && failed > 0 {
		err = fmt.Errorf("%d of %d containers failed", failed, len(all))
	}
	return err
}

// agent is that of this node.
func (c *ctl) agent() *client.Client { return client.New(filepath.Join(*c.runDir, "berth.sock")) }

const (
	setBar  = 20 // containers from which on a terminal gets a bar
	setStep = 20 // containers of one request while there is a bar
)

// inSteps asks the agent for a set, and shows a bar for one that is long. Where all must be asked at once there is none.
func (c *ctl) inSteps(ctx context.Context, set []client.Container, together bool, words string,
	ask func(context.Context, []client.Container) ([]client.Result, error)) ([]client.Result, error) {
	bar := c.progress()
	if len(set) > client.MaxSet {
		return nil, usageError{fmt.Errorf("the set has %d containers: want 1 to %d", len(set), client.MaxSet)}
	}
	if together || len(set) <= setBar || !bar.terminal {
		return ask(ctx, set)
	}
	defer bar.end()
	var results []client.Result
	for step := range slices.Chunk(set, setStep) {
		bar.show(len(results), len(set), words)
		some, err := ask(ctx, step)
		if err != nil {
			return results, fmt.Errorf("after %d of %d containers: %w", len(results), len(set), err)
		}
		results = append(results, some...)
	}
	bar.show(len(results), len(set), words)
	return results, nil
}
