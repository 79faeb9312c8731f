package config

import (
	"encoding/json"
	"maps"
	"reflect"
	"slices"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

// Diff is what differs between two configurations, the settings first, then the pools by name. Of a pool that only one
// of them has, every field differs.
func Diff(base, next *Config) []record.Change {
	return differences(base, next, differing(base, next))
}

// differences is Diff, of the pools that are named.
func differences(base, next *Config, pools []string) []record.Change {
	changes := diff("settings", fields(base.Settings), fields(next.Settings))
	for _, name := range pools {
		before, after := poolFields(base, name), poolFields(next, name)
		if before != nil && after != nil { // a mode that is not written down has a name all the same
			before["mode"], after["mode"] = base.Pools[name].Mode.String(), next.Pools[name].Mode.String()
		}
		changes = append(changes, diff("pool "+name, before, after)...)
	}
	return changes
}

// differing are the names of the pools that differ, in order.
func differing(base, next *Config) (names []string) {
	for _, name := range poolNames(base, next) {
		before, was := base.Pools[name]
		after, is := next.Pools[name]
		before.Former, after.Former = nil, nil
		if was == is && reflect.DeepEqual(before, after) {
			continue
		}
		if len(diff("", poolFields(base, name), poolFields(next, name))) > 0 {
			names = append(names, name)
		}
	}
	return names
}

// poolNames are those of both, in order.
func poolNames(base, next *Config) []string {
	all := maps.Clone(base.Pools)
	if all == nil {
		all = map[string]allocator.Pool{}
	}
	maps.Copy(all, next.Pools)
	return slices.Sorted(maps.Keys(all))
}

func poolFields(c *Config, name string) map[string]string {
	pool, ok := c.Pools[name]
	if !ok {
		return nil
	}
	return fields(pool)
}

// fields are an object's as they are stored, each as text.
func fields(object any) map[string]string {
	text, _ := json.Marshal(object) // pools and settings hold nothing that JSON could not
	var raw map[string]json.RawMessage
	_ = json.Unmarshal(text, &raw)
	named := make(map[string]string, len(raw))
	for field, value := range raw {
		named[field] = plain(value)
	}
	return named
}

// plain writes a text without its quotes; the rest stays JSON.
func plain(value json.RawMessage) string {
	var text string
	if json.Unmarshal(value, &text) == nil {
		return text
	}
	if string(value) == "null" {
		return ""
	}
	return string(value)
}

func diff(object string, before, after map[string]string) (changes []record.Change) {
	all := map[string]bool{}
	for _, side := range []map[string]string{before, after} {
		for field := range side {
			all[field] = true
		}
	}
	for _, field := range slices.Sorted(maps.Keys(all)) {
		if before[field] != after[field] {
			changes = append(changes, record.Change{Object: object, Field: field, Before: before[field], After: after[field]})
		}
	}
	return changes
}
