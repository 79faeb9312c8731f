package config

import (
	"errors"
	"slices"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// repairable are the records of the configuration that are not as they are to be, where that is known: the next change
// writes them, whatever else it does. A pool that no change has made is deleted with it.
func (c *Config) repairable() (keys []kv.Key) {
	for _, bad := range c.Bad {
		_, known := c.Pools[bad.At.Pool]
		switch {
		case bad.At.Kind == kv.KindPool && (known || errors.Is(bad.Err, errNoChange)),
			bad.At.Kind == kv.KindSettings && !c.Unsettled,
			bad.At.Kind == kv.KindRevision:
			keys = append(keys, bad.At)
		}
	}
	return keys
}

// unknownPool is a pool of which nobody can tell what addresses it has; nil: there is none.
func (c *Config) unknownPool() *kv.DamagedError {
	for _, bad := range c.Bad {
		if _, known := c.Pools[bad.At.Pool]; bad.At.Kind == kv.KindPool && !known && !errors.Is(bad.Err, errNoChange) {
			return bad
		}
	}
	return nil
}

// NeverMade reports whether a key is that of a pool that no change has made.
func (c *Config) NeverMade(key kv.Key) bool {
	return slices.ContainsFunc(c.Bad, func(e *kv.DamagedError) bool { return e.At == key && errors.Is(e.Err, errNoChange) })
}

// Expected is what a damaged record of the configuration is to be, as it is written, where that is known.
func (c *Config) Expected(key kv.Key) (value string, known bool) {
	pool, there := c.Pools[key.Pool]
	switch {
	case key.Kind == kv.KindPool && there:
		return kv.Encode(pool), true
	case key.Kind == kv.KindSettings && !c.Unsettled:
		return kv.Encode(c.Settings), true
	case key.Kind == kv.KindRevision && c.Changes > 0:
		pools := len(c.Pools)
		return kv.Encode(record.Changes{Changes: c.Changes, Pools: &pools, Settings: c.settled, Former: c.Former}), true
	}
	return "", false
}
