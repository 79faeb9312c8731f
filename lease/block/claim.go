package block

import (
	"context"
	"net/netip"
	"slices"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// maxTries bounds how often a block may change under a claim.
const maxTries = 10

// Claim makes the node the owner of what nobody owns of a block. PoolRevision is the mod revision of the pool's key that the
// choice was made by. Where the node has a part and nothing is left it succeeds, too. It fails with ErrTaken, and then returns
// what the owners have, with ErrStaleConfig, ErrRecovering, or an error that ends the session.
func Claim(ctx context.Context, x *session.Session, pool string, poolRevision int64, block netip.Prefix) (_ record.Block, err error) {
	defer named(&err, "claim block %s in pool %q for node %q", block, pool, x.Name())
	if err := x.Entitled(); err != nil {
		return record.Block{}, err
	}
	if poolRevision <= 0 {
		return record.Block{}, record.ErrStaleConfig
	}
	keys := x.KV().Keys
	free := record.Block{Pool: pool, Prefix: block}
	key, want, revision := keys.Block(pool, block), free.Covered(x.Name()), int64(0)
	for n := 1; ; n++ {
		t := x.Fenced("claim")
		t.IfUnchanged(keys.Pool(pool), poolRevision, record.ErrStaleConfig)
		t.If(kv.Unchanged(key, revision))
		t.Then(kv.Put(key, want))
		present := t.Else(key)
		if err := x.KV().Require(ctx, t); err != nil {
			return record.Block{}, err
		}
		if t.Done {
			want.Revision = t.Revision()
			return want, nil
		}
		b, err := record.ReadBlock(x.KV().Keys, pool, block, present.KVs)
		if err != nil {
			return record.Block{}, err
		}
		revision, want = b.Revision, b.Covered(x.Name())
		// The node may own a part by a claim whose answer was lost, or may have a release under way: only writing the block
		// resolves which.
		if len(want.Of(x.Name())) == 0 || n == maxTries {
			return b, ErrTaken
		}
	}
}

// Release gives up what the node owns of part, a block or a part of one. The block has to be as b says. It returns the block
// afterwards, at the revision of the release, also where it has no owner any more. Where the node owns nothing of part it
// succeeds. With a *LostError, session.ErrLost or session.ErrReplaced nothing was released, and nothing will be; after any other
// error the outcome is unknown until Resolve.
func Release(ctx context.Context, x *session.Session, b record.Block, part netip.Prefix) (_ record.Block, err error) {
	defer named(&err, "release %s of block %s in pool %q of node %q", part, b.Prefix, b.Pool, x.Name())
	key, rest := x.KV().Keys.Block(b.Pool, b.Prefix), b.Moved(part, x.Name(), "")
	op := kv.Put(key, rest)
	if len(rest.Parts) == 0 {
		op = clientv3.OpDelete(key)
	}
	t := x.Fenced("release")
	t.If(kv.Unchanged(key, b.Revision))
	t.Then(op)
	present := t.Else(key)
	if err := x.KV().Execute(ctx, t); err != nil {
		return b, err
	}
	if t.Done {
		rest.Revision = t.Revision()
		return rest, nil
	}
	now, err := record.ReadBlock(x.KV().Keys, b.Pool, b.Prefix, present.KVs)
	switch {
	case err != nil:
		return b, err
	case now.Revision == b.Revision:
		return now, t.Verdict()
	case slices.ContainsFunc(now.Of(x.Name()), func(p record.Part) bool { return p.Prefix.Overlaps(part) }):
		return now, &LostError{Block: now}
	case now.Revision == 0:
		now.Revision = t.Revision()
	}
	return now, nil
}

// Resolve resolves an unknown outcome: it writes a block that is as b says once more, so that no transaction about it whose answer
// was lost can be carried out any more. It returns the block afterwards; Revision 0: it has no record. It fails with an error
// that ends the session.
func Resolve(ctx context.Context, x *session.Session, b record.Block) (_ record.Block, err error) {
	defer named(&err, "resolve block %s in pool %q for node %q", b.Prefix, b.Pool, x.Name())
	key := x.KV().Keys.Block(b.Pool, b.Prefix)
	t := x.Fenced("settle")
	t.If(kv.Unchanged(key, b.Revision))
	t.Then(kv.Put(key, b))
	present := t.Else(key)
	if err := x.KV().Require(ctx, t); err != nil {
		return b, err
	}
	if t.Done {
		b.Revision = t.Revision()
		return b, nil
	}
	return record.ReadBlock(x.KV().Keys, b.Pool, b.Prefix, present.KVs)
}
