package journal

import (
	"iter"
	"net/netip"
	"sync/atomic"
)

// byAddress is a table by pool and address that finds all values in a prefix without a scan: a node with a hundred thousand
// addresses settles a thousand blocks, one after the other.
type byAddress[T any] struct {
	pools  map[string]map[netip.Prefix]map[netip.Addr]T // by pool and bucket
	looked atomic.Int64                                 // how many buckets and values were visited
}

// bucketSize is the number of low address bits within a bucket: a bucket is as large as a usual block.
const bucketSize = 6

func bucketOf(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()-bucketSize).Masked() }

func (t *byAddress[T]) get(pool string, a netip.Addr) (T, bool) {
	v, ok := t.pools[pool][bucketOf(a)][a]
	return v, ok
}

func (t *byAddress[T]) set(pool string, a netip.Addr, v T) {
	if t.pools == nil {
		t.pools = map[string]map[netip.Prefix]map[netip.Addr]T{}
	}
	if t.pools[pool] == nil {
		t.pools[pool] = map[netip.Prefix]map[netip.Addr]T{}
	}
	b := bucketOf(a)
	if t.pools[pool][b] == nil {
		t.pools[pool][b] = map[netip.Addr]T{}
	}
	t.pools[pool][b][a] = v
}

func (t *byAddress[T]) remove(pool string, a netip.Addr) {
	b := bucketOf(a)
	delete(t.pools[pool][b], a)
	if len(t.pools[pool][b]) == 0 {
		delete(t.pools[pool], b)
	}
	if len(t.pools[pool]) == 0 {
		delete(t.pools, pool)
	}
}

// all are the values of every pool, in no order.
func (t *byAddress[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, buckets := range t.pools {
			for _, bucket := range buckets {
				t.looked.Add(int64(1 + len(bucket)))
				for _, v := range bucket {
					if !yield(v) {
						return
					}
				}
			}
		}
	}
}

// within are the values of a pool whose address is in a prefix, in no order.
func (t *byAddress[T]) within(pool string, in netip.Prefix) (all []T) {
	in = in.Masked()
	for bucket := range t.buckets(pool, in) {
		t.looked.Add(int64(1 + len(bucket)))
		for a, v := range bucket {
			if in.Contains(a) {
				all = append(all, v)
			}
		}
	}
	return all
}

// buckets are those of a pool that overlap a prefix: the one that contains it, or those within it. These are enumerated, or
// filtered from all, whichever is less work; one that does not exist is yielded empty.
func (t *byAddress[T]) buckets(pool string, in netip.Prefix) iter.Seq[map[netip.Addr]T] {
	return func(yield func(map[netip.Addr]T) bool) {
		there, bits := t.pools[pool], in.Addr().BitLen()-bucketSize
		if in.Bits() >= bits {
			yield(there[bucketOf(in.Addr())])
			return
		}
		if more := bits - in.Bits(); more < 31 && 1<<more <= len(there) {
			for a, n := in.Addr(), 1<<more; n > 0; a, n = afterBucket(a), n-1 {
				if !yield(there[bucketOf(a)]) {
					return
				}
			}
			return
		}
		for prefix, b := range there {
			if !in.Contains(prefix.Addr()) {
				b = nil
			}
			if !yield(b) {
				return
			}
		}
	}
}

// afterBucket is the first address after the bucket that begins with a; the zero one after the last.
func afterBucket(a netip.Addr) netip.Addr {
	bytes := a.AsSlice()
	bytes[len(bytes)-1] |= 1<<bucketSize - 1
	last, _ := netip.AddrFromSlice(bytes)
	return last.Next()
}
