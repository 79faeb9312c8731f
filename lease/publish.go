package lease

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// publishOps is how many assignments one transaction writes at most: with the compares and reads of as many blocks
// it stays below etcd's limit.
const publishOps = 100

// A Batch is what a node publishes at once.
type Batch struct {
	Status Status       // Batch and Node are set by Publish
	Blocks []Block      // those that the addresses lie in, as the node knows them
	Set    []Assignment // written, whatever was there
	Clear  []Assignment // removed; only Pool and Address matter
}

// Publish writes a batch, in as many transactions as it takes; Status goes into the last one, so that it never says
// more than what is published. Each compares the session, the blocks that its addresses lie in, and the node's
// publishing counter, which it raises: a batch whose answer was lost can neither be carried out twice nor come late. It
// fails with *LostBlockError, ErrSessionLost or ErrReplaced; a part may have been written then, and repeating is safe.
func (x *Session) Publish(ctx context.Context, batch Batch) error {
	x.publishing.Lock()
	defer x.publishing.Unlock()
	pieces, err := x.pieces(batch)
	for i := 0; err == nil && i < len(pieces); i++ {
		err = x.publish(ctx, pieces[i])
	}
	if err != nil {
		return fmt.Errorf("lease: publish for node %q: %w", x.node.Name, err)
	}
	return nil
}

// Shows reports whether etcd has a status of the node's, as this session wrote it last and as the last proof has seen it, that says
// what status says.
func (x *Session) Shows(status Status) bool {
	x.publishing.Lock()
	defer x.publishing.Unlock()
	status.Batch = x.published.Batch
	return x.shown.Load() == x.counter && encode(status) == encode(x.published)
}

// A piece is what one transaction publishes.
type piece struct {
	status Status
	blocks []Block
	ops    []clientv3.Op
}

type addressWrite struct {
	pool    string
	address netip.Addr
	op      clientv3.Op
}

func (x *Session) pieces(batch Batch) ([]piece, error) {
	writes, blocks := x.addressWrites(batch), slices.Clone(batch.Blocks)
	sortBy(blocks, func(b Block) (string, netip.Addr) { return b.Pool, b.Prefix.Addr() })
	var pieces []piece
	for chunk := range slices.Chunk(writes, publishOps) {
		p := piece{status: x.published}
		for _, w := range chunk {
			for len(blocks) > 0 && !(blocks[0].Pool == w.pool && blocks[0].Prefix.Contains(w.address)) {
				blocks = blocks[1:] // both are in the order of their addresses
			}
			if len(blocks) == 0 {
				return nil, fmt.Errorf("address %s of pool %q lies in none of the batch's blocks: want its block among them", w.address, w.pool)
			}
			b := blocks[0]
			if n := len(p.blocks); n == 0 || p.blocks[n-1].Pool != b.Pool || p.blocks[n-1].Prefix != b.Prefix {
				p.blocks = append(p.blocks, b)
			}
			p.ops = append(p.ops, w.op)
		}
		pieces = append(pieces, p)
	}
	if len(pieces) == 0 {
		pieces = []piece{{}}
	}
	pieces[len(pieces)-1].status = batch.Status
	return pieces, nil
}

// addressWrites are the batch's, in the order of their addresses, so that those of a block lie together.
func (x *Session) addressWrites(batch Batch) []addressWrite {
	keys := x.store.keys
	writes := make([]addressWrite, 0, len(batch.Set)+len(batch.Clear))
	for _, a := range batch.Set {
		writes = append(writes, addressWrite{a.Pool, a.Address, put(keys.assignment(a.Pool, a.Address), a)})
	}
	for _, a := range batch.Clear {
		writes = append(writes, addressWrite{a.Pool, a.Address, clientv3.OpDelete(keys.assignment(a.Pool, a.Address))})
	}
	sortBy(writes, func(w addressWrite) (string, netip.Addr) { return w.pool, w.address })
	return writes
}

// publish writes one piece. The session alone writes the node's status, and each piece under a number of its own: if
// the counter has moved, the number tells whether this piece was written, or one before it whose answer was lost.
func (x *Session) publish(ctx context.Context, p piece) error {
	x.batch++
	p.status.Batch = x.batch
	for n := 1; ; n++ {
		response, err := x.store.commit(ctx, n, "publish", x.publication(p))
		switch {
		case err != nil && again(ctx, n, err):
			continue
		case err != nil:
			return err
		case response.Succeeded:
			x.counter, x.published = response.Header.Revision, p.status
			x.shown.Store(x.counter)
			return nil
		}
		if err := x.verdict(response); err != nil {
			return err
		}
		x.learnCounter(found(response, ownerReads))
		if x.published.Batch == p.status.Batch {
			return nil
		}
		if err := lostBlock(x.store.keys, p.blocks, response); err != nil {
			return err
		}
		if n == blockTries {
			return errors.New("the node's status keeps changing: does something else write it?")
		}
	}
}

// publication is a piece as a transaction, by the counter as it is known.
func (x *Session) publication(p piece) transaction {
	keys, status := x.store.keys, x.store.keys.status(x.node.Name)
	t := transaction{
		If:   append(x.Owner(), unchanged(status, x.counter)),
		Then: append([]clientv3.Op{put(status, p.status)}, p.ops...),
		Else: append(x.ownerGets(), clientv3.OpGet(status)),
	}
	for _, b := range p.blocks {
		t.If = append(t.If, unchanged(keys.block(b.Pool, b.Prefix), b.Revision))
		t.Else = append(t.Else, clientv3.OpGet(keys.block(b.Pool, b.Prefix)))
	}
	return t
}

// lostBlock finds the first block that is not as the piece compared it.
func lostBlock(keys Keys, blocks []Block, response *clientv3.TxnResponse) error {
	const first = ownerReads + 1 // after what the owner and the counter were read with
	for i, b := range blocks {
		kvs := found(response, first+i)
		if revisionOf(kvs) == b.Revision {
			continue
		}
		now, err := keys.readBlock(b.Pool, b.Prefix, kvs)
		if err != nil {
			return err
		}
		return &LostBlockError{now}
	}
	return nil
}
