package sim

import (
	"context"
	"regexp"
	"strings"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/netops"
)

// hurts are what a person's slip makes of a record.
var hurts = []func(key, value string) string{
	func(string, string) string { return "{damaged" },
	func(_, value string) string { return value[:len(value)/2] }, // an empty one stays so
	func(string, string) string { return "[]" },
	outOfRange,
}

var written = regexp.MustCompile(`":(\d+)`)

// outOfRange makes each number of the configuration another one. Elsewhere such a record would be a lie, which nobody can tell.
func outOfRange(key, value string) string {
	if !strings.HasPrefix(key, keys.Under("config")) {
		return `"text"`
	}
	return written.ReplaceAllString(value, `":33`)
}

// spoiled are the kinds of keys that a person's slip hits; empty: one that nobody knows.
var spoiled = []kv.Kind{
	kv.KindRevision, kv.KindSettings, kv.KindHistory, kv.KindPool, kv.KindPool, kv.KindNode, kv.KindStatus, kv.KindBlock, kv.KindAssignment,
	kv.KindReservation, kv.KindReservation, kv.KindIdentity, kv.KindDemand, kv.KindQuestion, "", "",
}

// someKey is one of a kind's keys, with its value.
func (c *Cluster) someKey(kind kv.Kind, choice int) (name, value string, err error) {
	all, err := c.etcd.Client().Get(context.Background(), kv.DefaultPrefix, clientv3.WithPrefix())
	if err != nil {
		return "", "", err
	}
	var of []int
	for i, e := range all.Kvs {
		if key, err := keys.Parse(string(e.Key)); err == nil && key.Kind == kind {
			of = append(of, i)
		}
	}
	if len(of) == 0 {
		return "", "", errSkipped
	}
	e := all.Kvs[of[choice%len(of)]]
	return string(e.Key), string(e.Value), nil
}

// unknown are keys that mean nothing, where the configuration is.
var unknown = []string{"none", "pools/Not a name", "settings/more", "history/first"}

// doDamage writes something unreadable into a key, or a key that nobody knows, and puts back after a time what was there.
func doDamage(c *Cluster, s Step) error {
	client := c.etcd.Client()
	if client == nil {
		return errSkipped
	}
	kind := spoiled[s.Choice%len(spoiled)]
	if kind == "" {
		return c.hurt(s.For, keys.Under("config")+unknown[s.Choice/64%len(unknown)], "", "{none", clientv3.OpDelete)
	}
	key, was, err := c.someKey(kind, s.Choice/64)
	if err != nil {
		return err
	}
	damaged := hurts[s.Choice/16%len(hurts)](key, was)
	if damaged == was {
		return errSkipped
	}
	back := func(key string, _ ...clientv3.OpOption) clientv3.Op { return clientv3.OpPut(key, was) }
	return c.hurt(s.For, key, was, damaged, back)
}

// hurt writes a key by hand, and for as long as it stays so after a time, puts it back.
func (c *Cluster) hurt(d time.Duration, key, was, value string, back func(string, ...clientv3.OpOption) clientv3.Op) error {
	defer c.slipped(key, slip{was, value, back})()
	if err := c.tamper(clientv3.OpPut(key, value)); err != nil {
		return err
	}
	return c.putBack(d, key, slip{was, value, back})
}

// A slip is what a key was, what a person has made of it, and how it is put back.
type slip struct {
	was, value string
	back       func(string, ...clientv3.OpOption) clientv3.Op
}

// slipped says that a key is damaged, until it is put back.
func (c *Cluster) slipped(key string, s slip) (repaired func()) {
	c.judge.damaged(key, s.was)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.damages[key] = s
	return func() {
		c.judge.repaired(key)
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.damages, key)
	}
}

// putBack puts back what is damaged still after a time. A person tries it again while etcd is away.
func (c *Cluster) putBack(d time.Duration, key string, s slip) (err error) {
	for range 60 {
		time.Sleep(d)
		if err = c.tamper(s.back(key), clientv3.Compare(clientv3.Value(key), "=", s.value)); err == nil {
			return nil
		}
		d = time.Second
	}
	return err
}

// doMangle has another program write its own words onto a container's port.
func (p *place) doMangle(Step) error {
	c := p.current
	if c == nil || !c.running() {
		return errSkipped
	}
	c.becomes(func(f *fate) { f.mangled = true })
	return c.node.host.SetAlias(netops.PortName(network, c.id, iface), "somebody's")
}

// tamper changes etcd as a person does with etcdctl, if it is as compared. What that makes may be anything, while everything else has
// to be a step of the models.
func (c *Cluster) tamper(op clientv3.Op, compares ...clientv3.Cmp) error {
	client := c.etcd.Client()
	if client == nil {
		return errSkipped
	}
	c.observer.turn <- struct{}{}
	defer func() { <-c.observer.turn }()
	r, err := client.Txn(context.Background()).If(compares...).Then(op).Commit()
	if err == nil && r.Succeeded {
		c.observer.byHand[r.Header.Revision] = true
	}
	return err
}

// mends begins a time in which a doctor repairs, and returns its end.
func (c *Cluster) mends() (end func()) {
	add := func(n int) {
		c.observer.turn <- struct{}{}
		c.observer.mends += n
		<-c.observer.turn
	}
	add(1)
	return func() { add(-1) }
}
