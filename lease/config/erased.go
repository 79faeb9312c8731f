package config

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// Etcd keeps the values of a deleted key until it compacts them. It has to be asked by a revision, and the revision of the deletion
// is not known: so it is searched for by halving.

// asOf is the value of a key at a revision; nil: there was none. Compacted: etcd does not have that revision any more.
func (s *Store) asOf(ctx context.Context, key string, revision int64) (pair *mvccpb.KeyValue, compacted bool, err error) {
	if revision <= 0 {
		return nil, true, nil
	}
	response, err := s.kv.Read(ctx, kv.CallTime, key, clientv3.WithRev(revision))
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

// lastWhen is the last revision at which something was there that is not there at gone; 0: etcd does not have it any more, or it
// never was there. It looks before gone, each time twice as far back, which finds whatever was there for at least as long as it is
// gone; and then at the revisions in there, the newest first. was asks for one revision.
func lastWhen(gone int64, there []int64, was func(revision int64) (is, compacted bool, err error)) (last int64, err error) {
	var back []int64
	for distance := int64(1); distance < gone; distance *= 2 {
		back = append(back, gone-distance)
	}
	for _, points := range [][]int64{back, there} {
		high := gone
		for _, low := range points {
			if low <= 0 || low >= high {
				continue
			}
			is, compacted, err := was(low)
			if err != nil {
				return 0, err
			}
			if !is && !compacted {
				high = low
				continue
			}
			if last, err = halve(low, high, was); last > 0 || err != nil {
				return last, err
			}
			break
		}
	}
	return 0, nil
}

// halve searches between low, where something was there or etcd does not know, and high, where it is not.
func halve(low, high int64, was func(revision int64) (is, compacted bool, err error)) (last int64, err error) {
	for low+1 < high {
		middle := low + (high-low)/2
		is, compacted, err := was(middle)
		switch {
		case err != nil:
			return 0, err
		case is || compacted:
			low = middle
		default:
			high = middle
		}
	}
	if is, _, err := was(low); err != nil || !is {
		return 0, err
	}
	return low, nil
}

// lastOf is what a key had before it was deleted; nil: etcd does not have that any more.
func (s *Store) lastOf(ctx context.Context, key string, gone int64, there []int64) (kv *mvccpb.KeyValue, err error) {
	last, err := lastWhen(gone, there, func(revision int64) (is, compacted bool, err error) {
		kv, compacted, err := s.asOf(ctx, key, revision)
		return kv != nil, compacted, err
	})
	if last > 0 && err == nil {
		kv, _, err = s.asOf(ctx, key, last)
	}
	return kv, err
}

// erasedEntry is an entry of the history that somebody has deleted; nil: etcd does not have it any more. A later change made the
// revision next; the key is not there at now, and may have been at those in there.
func (s *Store) erasedEntry(ctx context.Context, number, next, now int64, there []int64) (*mvccpb.KeyValue, error) {
	// Each change writes the record of the revision, and so what that was says when changes were made.
	key, at := s.kv.Keys.History(number), min(next-1, now)
	for range kv.FormerTries {
		made, compacted, err := s.asOf(ctx, s.kv.Keys.Revision(), at)
		if made == nil && !compacted && err == nil {
			made, err = s.lastOf(ctx, s.kv.Keys.Revision(), at, nil)
		}
		if err != nil {
			return nil, err
		}
		if made == nil {
			break
		}
		if kv, _, err := s.asOf(ctx, key, made.ModRevision); kv != nil || err != nil {
			return kv, err
		}
		at = made.ModRevision - 1
	}
	return s.lastOf(ctx, key, now, there)
}

// lastCount is what the record of the revision was, where it is missing or damaged, and the revision that its change made; nil:
// etcd does not have it any more. There are revisions at which there may have been one, the newest first.
func (s *Store) lastCount(ctx context.Context, damaged *mvccpb.KeyValue, now int64, there []int64) (*record.Changes, int64, error) {
	readable := func(kv *mvccpb.KeyValue) bool { _, err := record.RevisionCodec.Read(s.kv.Keys, kv); return err == nil }
	kv, err := s.lastGood(ctx, s.kv.Keys.Revision(), damaged, now, there, readable)
	if err != nil || kv == nil {
		return nil, 0, err
	}
	count, err := record.RevisionCodec.Read(s.kv.Keys, kv)
	return &count, kv.ModRevision, err
}

// lastGood is what a key had last that could be read, before it was damaged or deleted; nil: etcd does not have that any more.
func (s *Store) lastGood(
	ctx context.Context, key string, damaged *mvccpb.KeyValue, now int64, there []int64, readable func(*mvccpb.KeyValue) bool,
) (*mvccpb.KeyValue, error) {
	kv, err := damaged, error(nil)
	if kv == nil {
		if kv, err = s.lastOf(ctx, key, now, there); kv == nil || err != nil || readable(kv) {
			return kv, err
		}
	}
	return s.kv.Former(ctx, kv, readable)
}

// written are the revisions at which keys were made and last written, the newest first: beside them others may have been.
func written(kvs []*mvccpb.KeyValue) (revisions []int64) {
	for _, kv := range kvs {
		revisions = append(revisions, kv.ModRevision, kv.CreateRevision)
	}
	slices.SortFunc(revisions, func(a, b int64) int { return cmp.Compare(b, a) })
	revisions = slices.Compact(revisions)
	return revisions[:min(len(revisions), AskedTries)]
}

// ErasedHistory are the entries of the history that somebody has deleted and that etcd still has, as their changes wrote them, and the
// numbers of those that etcd has no more.
func (s *Store) ErasedHistory(ctx context.Context, c *Config) (erased map[int64]record.HistoryEntry, lost []int64, err error) {
	history, err := s.kv.Scan(ctx, s.kv.Keys.Under(kv.KindHistory), clientv3.WithRev(c.Read))
	if err != nil {
		return nil, nil, err
	}
	m, err := s.recall(ctx, history.Kvs, c.Changes, c.Revision, c.Read, written(history.Kvs))
	if err != nil {
		return nil, nil, err
	}
	return m.erased, m.lost, nil
}
