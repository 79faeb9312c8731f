package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/doctor"
	"github.com/berth-ipam/berth/lease/kv"
)

// doRemoveNode takes from a node that has gone whatever it has, when its right has run out. One that is there, or comes back
// meanwhile, is not removed.
func doRemoveNode(c *Cluster, s Step) error {
	return c.operateFor(3*addressLease, func(ctx context.Context, o *lease.Operator) error {
		_, err := o.Admin.RemoveNode(ctx, s.Node, admin.RemoveOptions{})
		return err
	})
}

// examine is berthctl doctor.
func (c *Cluster) examine(f func(context.Context, *lease.Operator, *doctor.Report, doctor.Options) error) error {
	return c.operateFor(3*time.Minute, func(ctx context.Context, o *lease.Operator) error {
		how := doctor.Options{Who: "operator", Patience: 5 * time.Second}
		report, err := doctor.Examine(ctx, o, how)
		if err != nil {
			return err
		}
		return f(ctx, o, report, how)
	})
}

// doFix is berthctl doctor --fix.
func doFix(c *Cluster, _ Step) error {
	return c.examine(func(ctx context.Context, o *lease.Operator, report *doctor.Report, how doctor.Options) error {
		defer c.mends()()
		after, err := doctor.Fix(ctx, o, report, how)
		if err == nil {
			for _, f := range after.Repaired {
				c.count("repaired: " + string(f.Kind))
			}
		}
		return err
	})
}

// doAdvice does what the doctor tells a person to do, as far as that is a command.
func doAdvice(c *Cluster, _ Step) error {
	var found []doctor.Finding
	err := c.examine(func(_ context.Context, _ *lease.Operator, report *doctor.Report, _ doctor.Options) error {
		found = report.Findings
		return nil
	})
	for _, f := range found {
		if !f.Fix && !f.Note {
			err = errors.Join(err, c.follow(f))
		}
	}
	return err
}

// follow carries out the commands that a finding names.
func (c *Cluster) follow(f doctor.Finding) error {
	c.note(fmt.Sprintf("doctor: %s %s %s %s: %s: %s", f.Kind, f.Key, f.Node, f.Container, f.Cause, f.Repair))
	if _, words, found := strings.Cut(f.Repair, "etcdctl "); found {
		return c.etcdctl(f, words)
	}
	_, id, found := strings.Cut(f.Repair, "berthctl delete ")
	if !found || f.Node == "" {
		c.count("advice, not followed: " + string(f.Kind))
		return nil
	}
	at := strings.Split(strings.Fields(id)[0], "/")
	for _, k := range c.judge.containersOf(c.node(f.Node)) {
		if len(at) == 3 && k.id == at[1] && k.there() {
			return c.followDelete(f, k)
		}
	}
	return nil
}

// followDelete deletes a container, which is not to be one that has a right to its address.
func (c *Cluster) followDelete(f doctor.Finding, k *container) error {
	if why := c.judge.rightful(k); why != "" {
		c.violate(Violation{Rule: "advice", What: fmt.Sprintf("the doctor says of %v: %s: %s; and %s", k, f.Cause, f.Repair, why)})
	}
	c.count("advice: delete for " + string(f.Kind))
	k.becomes(func(f *fate) { f.ending = true })
	_, err := k.node.call(patience, redial, &wire.Request{Operation: wire.Delete, Verb: "DEL", Containers: wire.Containers{k.request}}, k.ns)
	return err
}

// etcdctl does what a finding says to do with a key: one that is to be looked at first is not touched.
func (c *Cluster) etcdctl(f doctor.Finding, words string) error {
	verb, rest, _ := strings.Cut(words, " ")
	parts := strings.Split(rest, "'")
	if verb != "put" && verb != "del" || len(parts) < 2 {
		return nil
	}
	c.count("advice: " + verb + " for " + string(f.Kind))
	var op clientv3.Op
	switch {
	case verb == "del":
		op = clientv3.OpDelete(parts[1])
	case len(parts) >= 4:
		op = clientv3.OpPut(parts[1], parts[3])
	default:
		return nil
	}
	return c.tamper(op)
}

// perishable are the kinds of keys that Berth makes anew where somebody has deleted them.
var perishable = []kv.Kind{
	kv.KindCluster, kv.KindRevision, kv.KindSettings, kv.KindHistory, kv.KindPool, kv.KindStatus, kv.KindAssignment, kv.KindDemand,
	kv.KindQuestion,
}

// doErase deletes a key by hand.
func doErase(c *Cluster, s Step) error {
	client := c.etcd.Client()
	if client == nil {
		return errSkipped
	}
	key, _, err := c.someKey(perishable[s.Choice%len(perishable)], s.Choice/16)
	if err != nil {
		return err
	}
	switch kind := perishable[s.Choice%len(perishable)]; {
	case kind == kv.KindAssignment:
		c.byHand.Store(true)
	case strings.HasPrefix(string(kind), "config/"):
		c.unknown.Store(true)
	}
	return c.tamper(clientv3.OpDelete(key))
}
