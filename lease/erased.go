package lease

import (
	"context"
	"errors"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Whoever deletes a key takes away what it says, and not what it said: etcd has that until it is compacted. But etcd is asked
// by a revision, and when the key was deleted is not known: so it is looked for by halves.

// asOf is what was at a key at a revision; nil: nothing. It reports in compacted that etcd does not know any more.
func (s *configStore) asOf(ctx context.Context, key string, revision int64) (kv *mvccpb.KeyValue, compacted bool, err error) {
	if revision <= 0 {
		return nil, true, nil
	}
	response, err := s.kv.read(ctx, callTime, key, clientv3.WithRev(revision))
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return nil, true, nil
	case err != nil:
		return nil, false, err
	case len(response.Kvs) == 0:
		return nil, false, nil
	}
	return response.Kvs[0], false, nil
}

// lastOf is what a key had before it was deleted. It is not there at the revision gone; at one of those in there, the newest first,
// it may have been. nil: etcd does not have it any more, or it was at none of them.
func (s *configStore) lastOf(ctx context.Context, key string, gone int64, there ...int64) (last *mvccpb.KeyValue, err error) {
	low := int64(-1)
	for _, revision := range there {
		if revision >= gone {
			continue
		}
		kv, compacted, err := s.asOf(ctx, key, revision)
		if err != nil {
			return nil, err
		}
		if kv != nil || compacted {
			low, last = revision, kv
			break
		}
		gone = revision
	}
	for low >= 0 && low+1 < gone {
		middle := low + (gone-low)/2
		kv, compacted, err := s.asOf(ctx, key, middle)
		switch {
		case err != nil:
			return nil, err
		case kv != nil || compacted:
			low, last = middle, kv
		default:
			gone = middle
		}
	}
	return last, nil
}

// erasedEntry is an entry of the history that somebody has deleted, as its change wrote it; nil: etcd does not have it any more.
// A later change made the revision next, and the key is not there at now.
func (s *configStore) erasedEntry(ctx context.Context, number, next, now int64) (*mvccpb.KeyValue, error) {
	// Each change writes the record of the revision: what that was before the next change says when this one was.
	made, _, err := s.asOf(ctx, s.kv.keys.revision(), next-1)
	if err != nil {
		return nil, err
	}
	key, there := s.kv.keys.history(number), []int64{next, next - 1}
	if made != nil {
		if kv, _, err := s.asOf(ctx, key, made.ModRevision); kv != nil || err != nil {
			return kv, err
		}
		there = append(there, made.ModRevision)
	}
	return s.lastOf(ctx, key, now, there...)
}

// lastCount is what the record of the revision was, where it is missing or damaged, and the revision that its change made; nil:
// etcd does not have it any more. There are revisions at which there was one, the newest first.
func (s *configStore) lastCount(ctx context.Context, damaged *mvccpb.KeyValue, now int64, there []int64) (*changeCount, int64, error) {
	readable := func(kv *mvccpb.KeyValue) bool { _, err := revisionCodec.read(s.kv.keys, kv); return err == nil }
	kv, err := damaged, error(nil)
	if kv == nil {
		kv, err = s.lastOf(ctx, s.kv.keys.revision(), now, there...)
	}
	if err == nil && kv != nil && !readable(kv) {
		kv, err = s.kv.former(ctx, kv, readable)
	}
	if err != nil || kv == nil {
		return nil, 0, err
	}
	count, err := revisionCodec.read(s.kv.keys, kv)
	return &count, kv.ModRevision, err
}

// erasedHistory are the entries of the history that somebody has deleted and that etcd still has, as their changes wrote them, and the
// numbers of those that etcd has no more.
func (s *configStore) erasedHistory(ctx context.Context, c *Config) (erased map[int64]HistoryEntry, lost []int64, err error) {
	history, err := s.kv.scan(ctx, s.kv.keys.Under(KindHistory), clientv3.WithRev(c.Read))
	if err != nil {
		return nil, nil, err
	}
	m, err := s.recall(ctx, history.Kvs, c.Changes, c.Revision, c.Read)
	if err != nil {
		return nil, nil, err
	}
	return m.erased, m.lost, nil
}
