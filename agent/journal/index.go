package journal

import (
	"iter"
	"net/netip"
)

// byAddress is a table by pool and address in which all that lies in one prefix is found without a look at the rest: a node
// that holds a hundred thousand addresses settles a thousand blocks, one after the other.
type byAddress[T any] map[string]map[netip.Prefix]map[netip.Addr]T // by pool and bucket

// bucketSize is how many bits of an address tell the entries of one bucket apart: it has as many as a block of usual size.
const bucketSize = 6

func bucketOf(a netip.Addr) netip.Prefix { return netip.PrefixFrom(a, a.BitLen()-bucketSize).Masked() }

func (t byAddress[T]) get(pool string, a netip.Addr) (T, bool) {
	v, ok := t[pool][bucketOf(a)][a]
	return v, ok
}

func (t byAddress[T]) set(pool string, a netip.Addr, v T) {
	if t[pool] == nil {
		t[pool] = map[netip.Prefix]map[netip.Addr]T{}
	}
	b := bucketOf(a)
	if t[pool][b] == nil {
		t[pool][b] = map[netip.Addr]T{}
	}
	t[pool][b][a] = v
}

func (t byAddress[T]) remove(pool string, a netip.Addr) {
	b := bucketOf(a)
	delete(t[pool][b], a)
	if len(t[pool][b]) == 0 {
		delete(t[pool], b)
	}
	if len(t[pool]) == 0 {
		delete(t, pool)
	}
}

// all are those of every pool, in no order.
func (t byAddress[T]) all() iter.Seq[T] {
	return func(yield func(T) bool) {
		for _, buckets := range t {
			for _, bucket := range buckets {
				for _, v := range bucket {
					if !yield(v) {
						return
					}
				}
			}
		}
	}
}

// within are those of a pool whose address lies in a prefix, in no order.
func (t byAddress[T]) within(pool string, in netip.Prefix) (all []T) {
	in = in.Masked()
	for bucket := range t.buckets(pool, in) {
		for a, v := range bucket {
			if in.Contains(a) {
				all = append(all, v)
			}
		}
	}
	return all
}

// buckets are those of a pool that have addresses of a prefix: the one that it lies in, or those that lie in it. These are
// counted through, or picked from all that there are, whichever is less work.
func (t byAddress[T]) buckets(pool string, in netip.Prefix) iter.Seq[map[netip.Addr]T] {
	return func(yield func(map[netip.Addr]T) bool) {
		there, bits := t[pool], in.Addr().BitLen()-bucketSize
		if in.Bits() >= bits {
			if b := there[bucketOf(in.Addr())]; b != nil {
				yield(b)
			}
			return
		}
		if more := bits - in.Bits(); more < 31 && 1<<more <= len(there) {
			for a, n := in.Addr(), 1<<more; n > 0; a, n = afterBucket(a), n-1 {
				if b := there[bucketOf(a)]; b != nil && !yield(b) {
					return
				}
			}
			return
		}
		for prefix, b := range there {
			if in.Contains(prefix.Addr()) && !yield(b) {
				return
			}
		}
	}
}

// afterBucket is the first address behind the bucket that begins with a; the zero one behind the last.
func afterBucket(a netip.Addr) netip.Addr {
	bytes := a.AsSlice()
	bytes[len(bytes)-1] |= 1<<bucketSize - 1
	last, _ := netip.AddrFromSlice(bytes)
	return last.Next()
}
