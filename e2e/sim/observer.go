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
	"github.com/berth-ipam/berth/lease/record"
)

// An observer sees every change of etcd in the instant in which it is made.
type observer struct {
	cluster *Cluster

	mu       sync.Mutex
	trace    hash.Hash
	events   int
	revision int64
	sessions map[string]presence
	lastLost time.Time          // when etcd was last restored
	holders  map[string]holding // by the reservation's key
	owned    owned
	strict   map[string]bool // nodes whose records say that their kernels fence
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
	return &observer{cluster: c, trace: sha256.New(), sessions: map[string]presence{}, holders: map[string]holding{},
		strict: map[string]bool{}, owned: newOwned()}
}

// follow reads all changes until ctx ends or etcd does.
func (o *observer) follow(ctx context.Context, client *clientv3.Client) {
	o.mu.Lock()
	from := o.revision + 1
	o.mu.Unlock()
	for response := range client.Watch(ctx, kv.DefaultPrefix, clientv3.WithPrefix(), clientv3.WithRev(from)) {
		for _, e := range response.Events {
			o.see(e)
		}
	}
}

func (o *observer) see(e *clientv3.Event) {
	o.mu.Lock()
	defer o.mu.Unlock()
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
	if node, found := strings.CutPrefix(string(e.Kv.Key), keys.Node("")); found && e.Type == clientv3.EventTypePut && time.Since(o.lastLost) > 0 {
		if n, err := record.NodeCodec.Read(keys, e.Kv); err == nil { // what a restored etcd says is not yet so
			o.strict[node] = n.Fencing == record.FencingStrict
		}
	}
	if node, found := strings.CutPrefix(string(e.Kv.Key), keys.Session("")); found {
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
	clear(o.holders)
	o.owned = newOwned()
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
