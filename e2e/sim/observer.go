package sim

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
	"net/netip"
	"strings"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/model/trace"
	"github.com/berth-ipam/berth/lease/record"
)

// An observer sees every change of etcd in the instant in which it is made.
type observer struct {
	cluster *Cluster

	turn   chan struct{}  // full while a person changes etcd, or what has happened is taken in
	byHand map[int64]bool // the revisions that persons have made; only in turn
	mends  int            // how many doctors repair; only in turn

	mu       sync.Mutex
	trace    hash.Hash
	events   int
	revision int64
	checker  *trace.Checker
	sessions map[string]presence
	lastLost time.Time          // when etcd was last restored
	holders  map[string]holding // by the reservation's key
	owned    owned
	certain  time.Time                           // since when etcd's state is accepted as the present one; zero: it is not
	strict   map[string]bool                     // nodes whose records say that their kernels fence
	stated   map[string]record.Node              // what each node's record said last that could be read
	pool     string                              // the record of the pool as it was last
	pools    map[string]bool                     // those that etcd has
	gateways map[string]map[netip.Addr]time.Time // that are, by the key of their pool, or were, and since when
	removed  map[string]bool                     // nodes that were at some time
	silent   map[string]time.Time                // nodes without a status, and since when
}

// A holding is who has a reservation, and since when.
type holding struct {
	record.Reservation
	since   time.Time
	damaged bool
}

func readReservation(e *clientv3.Event) (r record.Reservation, damaged bool) {
	r, err := record.ReservationCodec.Read(keys, e.Kv)
	return r, err != nil
}

// A presence is since when a node's session key has been as it is.
type presence struct {
	there bool
	since time.Time
	id    int64 // the key's create revision
}

var keys = kv.NewKeys("")

func newObserver(c *Cluster) *observer {
	return &observer{
		cluster: c, trace: sha256.New(), turn: make(chan struct{}, 1), byHand: map[int64]bool{}, checker: trace.New(keys, false),
		sessions: map[string]presence{}, holders: map[string]holding{}, strict: map[string]bool{}, owned: newOwned(),
		stated:   map[string]record.Node{},
		gateways: map[string]map[netip.Addr]time.Time{}, silent: map[string]time.Time{}, removed: map[string]bool{},
		pools: map[string]bool{},
	}
}

// follow reads all changes until ctx ends or etcd does. Of an etcd that was restored, or has forgotten what came between, it reads
// first what is there.
func (o *observer) follow(ctx context.Context, client *clientv3.Client) {
	for compacted := false; ; {
		o.mu.Lock()
		from := o.revision
		o.mu.Unlock()
		if from == 0 || compacted {
			var err error
			if from, err = o.meet(ctx, client); err != nil {
				return
			}
			compacted = false
		}
		for response := range client.Watch(ctx, kv.DefaultPrefix, clientv3.WithPrefix(), clientv3.WithRev(from+1)) {
			compacted = response.CompactRevision > 0
			o.turn <- struct{}{}
			for _, t := range trace.Transactions(response, time.Now()) {
				t.ByHand, t.Mends = o.byHand[t.Revision], o.mends > 0
				o.seeAll(t)
			}
			<-o.turn
		}
		if !compacted {
			return
		}
	}
}

// meet takes in what an etcd has, whatever came between, and returns its revision.
func (o *observer) meet(ctx context.Context, client *clientv3.Client) (revision int64, err error) {
	all, err := client.Get(ctx, kv.DefaultPrefix, clientv3.WithPrefix(), clientv3.WithSerializable())
	if err != nil {
		return 0, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.checker.Begin(all.Header.ClusterId, all.Kvs, time.Now())
	for _, kv := range all.Kvs {
		o.see(&clientv3.Event{Type: clientv3.EventTypePut, Kv: kv}, true)
	}
	return all.Header.Revision, nil
}

// seeAll takes in a transaction: it has to be a step of the models.
func (o *observer) seeAll(t trace.Transaction) {
	o.mu.Lock()
	err := o.checker.See(t)
	for _, e := range t.Events {
		o.see(e, false)
	}
	o.mu.Unlock()
	if err != nil {
		o.cluster.violate(Violation{Rule: "step", What: err.Error()})
	}
}

// see learns of a change. One that is replayed was made in another time: what a node says of itself there is not yet so.
func (o *observer) see(e *clientv3.Event, replayed bool) {
	o.events++
	o.revision = max(o.revision, e.Kv.ModRevision)
	fmt.Fprintln(o.trace, e.Type, string(e.Kv.Key), string(e.Kv.Value), e.Kv.ModRevision)
	o.cluster.debug("etcd %s %s %.300s", e.Type, e.Kv.Key, e.Kv.Value)
	if strings.HasPrefix(string(e.Kv.Key), keys.Under(kv.KindReservation)) {
		h := holding{since: time.Now()}
		if e.Type == clientv3.EventTypePut { // of one that is damaged nothing is judged
			h.Reservation, h.damaged = readReservation(e)
		}
		o.holders[string(e.Kv.Key)] = h
	}
	o.owned.see(e)
	node, isNode := strings.CutPrefix(string(e.Kv.Key), keys.Node(""))
	if isNode && e.Type == clientv3.EventTypePut && !replayed {
		if n, err := record.NodeCodec.Read(keys, e.Kv); err == nil {
			o.stated[node] = n
			o.strict[node] = n.Fencing == record.FencingStrict
			o.removed[node] = o.removed[node] || n.Removed != nil
		}
	}
	if string(e.Kv.Key) == keys.Cluster() {
		o.certain = time.Time{}
		if r, err := record.ClusterCodec.Read(keys, e.Kv); err == nil && r.ID != "" && !replayed && e.Type == clientv3.EventTypePut {
			o.certain = time.Now()
		}
	}
	if pool, is := strings.CutPrefix(string(e.Kv.Key), keys.Under(kv.KindPool)); is {
		o.pools[pool] = e.Type == clientv3.EventTypePut
	}
	o.seeGateways(e)
	if node, found := strings.CutPrefix(string(e.Kv.Key), keys.Status("")); found {
		if delete(o.silent, node); e.Type == clientv3.EventTypeDelete {
			o.silent[node] = time.Now()
		}
	}
	if node, found := strings.CutPrefix(string(e.Kv.Key), keys.Session("")); found && !replayed {
		there := e.Type == clientv3.EventTypePut
		if o.sessions[node].there != there || there {
			o.sessions[node] = presence{there, time.Now(), e.Kv.CreateRevision}
		}
	}
}

// restored forgets what another incarnation of etcd has had.
func (o *observer) restored() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.revision = 0
	clear(o.byHand)
	clear(o.holders)
	o.owned = newOwned()
	clear(o.gateways)
	clear(o.pools)
	clear(o.silent)
	o.lastLost = time.Now()
	for node, p := range o.sessions {
		if p.there {
			o.sessions[node] = presence{since: time.Now()}
		}
	}
}

// holder is who has a member's reservation.
func (o *observer) holder(pool string, a netip.Addr) holding {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.holders[keys.Reservation(pool, a)]
}

// seeGateways notes which addresses are gateways, and which were and are not free yet.
func (o *observer) seeGateways(e *clientv3.Event) {
	key, now := string(e.Kv.Key), map[netip.Addr]time.Time{}
	var all []netip.Addr
	switch {
	case e.Type != clientv3.EventTypePut:
		return
	case strings.HasPrefix(key, keys.Under(kv.KindPool)):
		p, err := record.PoolCodec.Read(keys, e.Kv)
		if err != nil {
			return
		}
		if all = p.Gateways; p.Name == poolName {
			o.pool = string(e.Kv.Value)
		}
	case key == keys.Revision():
		r, err := record.RevisionCodec.Read(keys, e.Kv)
		if err != nil {
			return
		}
		for _, f := range r.Former {
			all = append(all, f.Address)
		}
	default:
		return
	}
	for _, a := range all {
		if now[a] = time.Now(); !o.gateways[key][a].IsZero() {
			now[a] = o.gateways[key][a]
		}
	}
	o.gateways[key] = now
}

// gateway reports whether an address is a gateway, or was one and is not free yet, and since when.
func (o *observer) gateway(a netip.Addr) (since time.Time, is bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, all := range o.gateways {
		if at, there := all[a]; there && (!is || at.Before(since)) {
			since, is = at, true
		}
	}
	return since, is
}

// wasRemoved reports whether a node was removed at some time.
func (o *observer) wasRemoved(node string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.removed[node]
}

// statusless reports whether somebody has deleted a node's status, and since when.
func (o *observer) statusless(node string) (since time.Time, missing bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	since, missing = o.silent[node]
	return since, missing
}

// lastPool is the record of the pool as it was last readable.
func (o *observer) lastPool() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pool
}

// hasPool reports whether etcd has a pool: what is of one that a restore has lost can be nobody's by its records.
func (o *observer) hasPool(name string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.pools[name]
}

// settledSince reports whether etcd's state has been accepted as the present one for a time: none recovers from a restore.
func (o *observer) settledSince(d time.Duration) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return !o.certain.IsZero() && time.Since(o.certain) >= d
}

// lost is when etcd last lost what was written since a backup.
func (o *observer) lost() time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lastLost
}

// fences reports whether a node's kernel fences, by what the node has stated.
func (o *observer) fences(node string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.strict[node]
}

// right is that over a class by what a node has stated, which others wait for.
func (o *observer) right(node string, stateful bool) time.Duration {
	o.mu.Lock()
	defer o.mu.Unlock()
	if stateful {
		return time.Duration(o.stated[node].Session)
	}
	return time.Duration(o.stated[node].AddressLease)
}

// session is a node's.
func (o *observer) session(node string) presence {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.sessions[node]
}

// add puts something else into the trace.
func (o *observer) add(format string, args ...any) {
	o.mu.Lock()
	defer o.mu.Unlock()
	fmt.Fprintf(o.trace, format+"\n", args...)
}

func (o *observer) sum() (events int, hash string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.events, hex.EncodeToString(o.trace.Sum(nil)[:8])
}
