package attach

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/agent/plan"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/netops"
)

// Read is CNI CHECK for a set; without containers it only reads the version.
func (a *Attacher) Read(ctx context.Context, r *wire.Request, files []*os.File) (*wire.Revision, error) {
	if r.Operation == wire.Read && len(r.Containers) == 0 {
		return a.Updater.Revision(), a.Allowed(r.Operation)
	}
	set, err := targets(a.Node, r, files)
	if err != nil {
		return nil, err
	}
	for _, m := range set {
		if err := a.check(ctx, m); err != nil {
			return nil, err
		}
	}
	return a.Updater.Revision(), nil
}

// check compares one attachment with ADD's answer, the journal and the kernel (CNI specification 1.1.0, "CHECK"), and names
// everything that is missing. It ignores what later plugins of the chain have added.
func (a *Attacher) check(ctx context.Context, m *target) error {
	unlock, err := a.Locks.Lock(ctx, m.attachment)
	if err != nil {
		return wire.Errorf(wire.CodeTryAgain, "another request for %s is still under way", m.attachment)
	}
	defer unlock()
	release, err := a.Slots.Acquire(ctx)
	if err != nil {
		return wire.Errorf(wire.CodeTryAgain, "this node has too much to do on its kernel: %w", err)
	}
	defer release()
	e := a.Journal.Get(m.attachment)
	if e == nil {
		return wire.Errorf(wire.CodeUnknown, "%s has no address: it was never added, or is gone", m.attachment)
	}
	var missing []string
	if reason := e.IsolatedWhy(); reason != "" {
		missing = append(missing, "it is isolated: "+reason)
	}
	missing = append(missing, differences(e, m.Previous)...)
	if e.Wiring.Port != "" {
		pool, _, err := a.Pool(e.Pool)
		if err != nil {
			return err
		}
		p := plan.Port(e, pool)
		p.Netns = m.netns
		if m.Previous != nil {
			chained(&p, e, m.Previous)
		}
		if err := a.Kernel().Check(p); err != nil {
			missing = append(missing, err.Error())
		}
		classes, err := a.Kernel().Classes()
		if err != nil {
			return wire.Errorf(wire.CodeIO, "%w", err)
		}
		if class := classes[e.Wiring.Port]; class != string(e.Class) {
			missing = append(missing, fmt.Sprintf("its port %s is in class %q of the nftables table berth and should be in %q", e.Wiring.Port,
				class, e.Class))
		}
	}
	if len(missing) > 0 {
		return wire.Errorf(wire.CodeIO, "%s is not as it was added: %s", m.attachment, strings.Join(missing, "; "))
	}
	return nil
}

// chained applies to a port what later plugins of the chain have changed, by the chain's last answer: another MAC, another MTU
// inside, fewer routes.
func chained(p *netops.Port, e *journal.Entry, last *wire.Result) {
	if mac, err := net.ParseMAC(last.MAC); err == nil {
		p.MAC = mac
	}
	p.ChainMTU = last.MTU
	given := e.Wiring.Given
	if given == nil {
		given = e.Wiring.Routes
	}
	p.Routes = slices.DeleteFunc(p.Routes, func(r netops.Route) bool {
		leads := func(to netip.Prefix) bool { return to.Masked() == r.To.Masked() }
		answered := slices.ContainsFunc(given, func(g allocator.Route) bool { return leads(g.To) })
		return answered && !slices.ContainsFunc(last.Routes, func(l wire.Route) bool { return leads(l.To) })
	})
}

// differences are those between the former answer, as the runtime returns it, and the journal.
func differences(e *journal.Entry, previous *wire.Result) (all []string) {
	if previous == nil {
		return nil
	}
	for _, addr := range e.Addresses {
		if !slices.ContainsFunc(previous.Addresses, func(p wire.Address) bool { return p.Address.Addr() == addr }) {
			all = append(all, fmt.Sprintf("it has address %s, which the previous result does not name", addr))
		}
	}
	return all
}
