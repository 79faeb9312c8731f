package rollout

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// publishOps is how many assignments one transaction writes at most: with the compares and reads of as many blocks
// it stays below etcd's limit.
const publishOps = 100

// publishTries bounds how often the node's status may change under a piece.
const publishTries = 10

// A Batch is what a node publishes at once.
type Batch struct {
	Status record.Status       // Batch and Node are set by Publish
	Blocks []record.Block      // those that the addresses lie in, as the node knows them
	Set    []record.Assignment // written, whatever was there
	Clear  []record.Assignment // removed; only Pool and Address matter
}

// A publisher publishes for one session. It alone writes the node's status, which is also the counter that orders the batches.
type publisher struct {
	session *session.Session

	publishing task.Lock     // one batch after the other, each with its calls
	counter    int64         // the mod revision of the node's status
	published  record.Status // what it says
	batch      int64         // the number of the last batch that was tried
}

// publisherOf is the one publisher that a session has.
func publisherOf(x *session.Session) *publisher {
	return x.Extra(func() any {
		p := &publisher{session: x, publishing: task.NewLock()}
		p.learn(x.Status())
		return p
	}).(*publisher)
}

// Publish writes a batch, in as many transactions as it takes; Status goes into the last one, so that it never says
// more than what is published. Each compares the session, the blocks that its addresses lie in, and the node's
// publishing counter, which it raises: a batch whose answer was lost can neither be carried out twice nor come late. It
// fails with *block.LostError, session.ErrLost or session.ErrReplaced; a part may have been written then, and repeating is safe.
func Publish(ctx context.Context, x *session.Session, batch Batch) error {
	p := publisherOf(x)
	err := p.publishing.Lock(ctx)
	if err == nil {
		defer p.publishing.Unlock()
		err = p.publishAll(ctx, batch)
	}
	if err != nil {
		return fmt.Errorf("lease: publish for node %q: %w", x.Name(), err)
	}
	return nil
}

func (p *publisher) publishAll(ctx context.Context, batch Batch) error {
	pieces, err := p.pieces(batch)
	for i := 0; err == nil && i < len(pieces); i++ {
		err = p.publish(ctx, pieces[i])
	}
	return err
}

// Shows reports whether the node's status in etcd, as the session wrote it last and as the last proof has seen it, is status, and
// counts: it was written since the cluster's record was. It waits for a batch that is under way; where ctx ends it does not know, and
// returns false.
func Shows(ctx context.Context, x *session.Session, status record.Status) bool {
	p := publisherOf(x)
	if p.publishing.Lock(ctx) != nil {
		return false
	}
	defer p.publishing.Unlock()
	status.Batch = p.published.Batch
	return x.StatusSeen() == p.counter && p.counter > x.Cluster() && kv.Encode(status) == kv.Encode(p.published)
}

// A piece is what one transaction publishes.
type piece struct {
	status record.Status
	blocks []record.Block
	ops    []clientv3.Op
}

type addressWrite struct {
	at ipam.Address
	op clientv3.Op
}

func (p *publisher) pieces(batch Batch) ([]piece, error) {
	writes, blocks := addressWrites(p.session.KV().Keys, batch), slices.Clone(batch.Blocks)
	record.SortBy(blocks, func(b record.Block) (string, netip.Addr) { return b.Pool, b.Prefix.Addr() })
	var pieces []piece
	for chunk := range slices.Chunk(writes, publishOps) {
		one := piece{status: p.published}
		for _, w := range chunk {
			for len(blocks) > 0 && !(blocks[0].Pool == w.at.Pool && blocks[0].Prefix.Contains(w.at.Addr)) {
				blocks = blocks[1:] // both are in the order of their addresses
			}
			if len(blocks) == 0 {
				return nil, fmt.Errorf("address %s of pool %q lies in none of the batch's blocks: want its block among them", w.at.Addr, w.at.Pool)
			}
			b := blocks[0]
			if n := len(one.blocks); n == 0 || one.blocks[n-1].Pool != b.Pool || one.blocks[n-1].Prefix != b.Prefix {
				one.blocks = append(one.blocks, b)
			}
			one.ops = append(one.ops, w.op)
		}
		pieces = append(pieces, one)
	}
	if len(pieces) == 0 {
		pieces = []piece{{}}
	}
	pieces[len(pieces)-1].status = batch.Status
	return pieces, nil
}

// addressWrites are the batch's, in the order of their addresses, so that those of a block lie together.
func addressWrites(keys kv.Keys, batch Batch) []addressWrite {
	writes := make([]addressWrite, 0, len(batch.Set)+len(batch.Clear))
	for _, a := range batch.Set {
		writes = append(writes, addressWrite{ipam.Address{Pool: a.Pool, Addr: a.Address}, kv.Put(keys.Assignment(a.Pool, a.Address), a)})
	}
	for _, a := range batch.Clear {
		writes = append(writes, addressWrite{ipam.Address{Pool: a.Pool, Addr: a.Address}, clientv3.OpDelete(keys.Assignment(a.Pool, a.Address))})
	}
	record.SortBy(writes, func(w addressWrite) (string, netip.Addr) { return w.at.Pool, w.at.Addr })
	return writes
}

// publish writes one piece. The session alone writes the node's status, and each piece under a number of its own: if
// the counter has moved, the number says whether this piece was written, or one before it whose answer was lost.
func (p *publisher) publish(ctx context.Context, next piece) error {
	p.batch++
	next.status.Batch = p.batch
	for n := 1; ; n++ {
		t := p.publication(next)
		if err := p.session.KV().Require(ctx, t.Txn); err != nil {
			return err
		}
		if t.Done {
			p.counter, p.published = t.Revision(), next.status
			p.session.WroteStatus(p.counter)
			return nil
		}
		p.learn(t.status)
		if p.published.Batch == next.status.Batch {
			return nil
		}
		if err := lostBlock(p.session.KV().Keys, next.blocks, t.blocks); err != nil {
			return err
		}
		if n == publishTries {
			return errors.New("the node's status keeps changing: does something else write it?")
		}
	}
}

// A publication is the transaction that publishes a piece, and what it reads where it does not.
type publication struct {
	*kv.Txn
	status *kv.Read
	blocks []*kv.Read // those of the piece, in its order
}

// publication is a piece as a transaction, by the counter as it is known.
func (p *publisher) publication(next piece) publication {
	keys, status := p.session.KV().Keys, p.session.KV().Keys.Status(p.session.Name())
	t := publication{Txn: p.session.Fenced("publish")}
	t.If(kv.Unchanged(status, p.counter))
	t.Then(kv.Put(status, next.status))
	t.Then(next.ops...)
	t.status = t.Else(status)
	for _, b := range next.blocks {
		key := keys.Block(b.Pool, b.Prefix)
		t.If(kv.Unchanged(key, b.Revision))
		t.blocks = append(t.blocks, t.Else(key))
	}
	return t
}

// lostBlock finds the first block that is not as the piece compared it.
func lostBlock(keys kv.Keys, blocks []record.Block, present []*kv.Read) error {
	for i, b := range blocks {
		if present[i].Revision() == b.Revision {
			continue
		}
		now, err := record.ReadBlock(keys, b.Pool, b.Prefix, present[i].KVs)
		if err != nil {
			return err
		}
		return &block.LostError{Block: now}
	}
	return nil
}

// learn takes over the node's status from etcd. One that cannot be read is overwritten.
func (p *publisher) learn(status *kv.Read) {
	p.counter, p.published = status.Revision(), record.Status{}
	if status.Found() {
		if record, err := record.StatusCodec.Read(p.session.KV().Keys, status.KVs[0]); err == nil {
			p.published = record
		}
	}
	p.batch = max(p.batch, p.published.Batch)
}
