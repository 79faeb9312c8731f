package lease

import (
	"errors"
	"slices"
)

// repairable are the records of the configuration that are not as they are to be, where that is known: the next change
// writes them, whatever else it does. A pool that no change has made is deleted with it.
func (c *Config) repairable() (keys []Key) {
	for _, bad := range c.Bad {
		_, known := c.Pools[bad.At.Pool]
		switch {
		case bad.At.Kind == KindPool && (known || errors.Is(bad.Err, errNoChange)),
			bad.At.Kind == KindSettings && !c.Unsettled,
			bad.At.Kind == KindRevision:
			keys = append(keys, bad.At)
		}
	}
	return keys
}

// unknownPool is a pool of which nobody can tell what addresses it has; nil: there is none.
func (c *Config) unknownPool() *DamagedError {
	for _, bad := range c.Bad {
		if _, known := c.Pools[bad.At.Pool]; bad.At.Kind == KindPool && !known && !errors.Is(bad.Err, errNoChange) {
			return bad
		}
	}
	return nil
}

// Stray reports whether a key is that of a pool that no change has made.
func (c *Config) Stray(key Key) bool {
	return slices.ContainsFunc(c.Bad, func(e *DamagedError) bool { return e.At == key && errors.Is(e.Err, errNoChange) })
}

// Right is what a damaged record of the configuration is to be, as it is written, where that is known.
func (c *Config) Right(key Key) (value string, known bool) {
	pool, there := c.Pools[key.Pool]
	switch {
	case key.Kind == KindPool && there:
		return encode(pool), true
	case key.Kind == KindSettings && !c.Unsettled:
		return encode(c.Settings), true
	case key.Kind == KindRevision && c.Changes > 0:
		pools := len(c.Pools)
		return encode(changeCount{Changes: c.Changes, Pools: &pools, Settings: c.settled, Former: c.Former}), true
	}
	return "", false
}
