package main

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/internal/nearest"
	"github.com/berth-ipam/berth/internal/wire"
)

var (
	// sharedKeys are Berth's own in both roles.
	sharedKeys = []string{"pool", "socket", "class"}
	// interfaceKeys are Berth's own in the interface role.
	interfaceKeys = slices.Concat(sharedKeys, []string{"bridge", "uplink", "ipMasq"})
	// specifiedKeys are those of a plugin's configuration in the CNI specification 1.1.0 and its conventions, which are
	// no slips of the pen for Berth's.
	specifiedKeys = []string{
		"cniVersion", "cniVersions", "name", "type", "disableCheck", "disableGC", "loadOnlyInlinedPlugins", "capabilities",
		"args", "ipam", "dns", "runtimeConfig", "prevResult",
	}
	// argsKeys are those of args.cni.berth.
	argsKeys = []string{"class", "namespace", "app", "member"}
)

// validKeys refuses keys that nobody reads, where they must have been meant for Berth: any in its own object "ipam", and
// beside "type" those that are almost one of its own. Other keys beside "type" may be of whoever wrote the file: the
// specification has plugins tolerate them.
func (c *call) validKeys() error {
	known := sharedKeys
	if c.role == wire.Interface {
		known = interfaceKeys
		for key := range keysOf(c.StdinData) {
			if _, near := nearest.Word(key, known); near && !has(slices.Concat(known, specifiedKeys), key) {
				return unknownKey("the network configuration", key, known)
			}
		}
	}
	if !own(c.ipamType) {
		return nil
	}
	return onlyKeys(`"ipam"`, c.IPAM, slices.Concat([]string{"type"}, known))
}

// onlyKeys refuses a key of an object of Berth's own that it does not know.
func onlyKeys(what string, object []byte, known []string) error {
	for _, key := range slices.Sorted(maps.Keys(keysOf(object))) {
		if !has(known, key) {
			return unknownKey(what, key, known)
		}
	}
	return nil
}

func unknownKey(what, key string, known []string) error {
	return wire.Errorf(wire.CodeConfig, "%s has the unknown key %q: %s", what, key, nearest.Hint(key, known))
}

// has reports whether a key is one of those known; package json does not tell upper and lower case apart.
func has(known []string, key string) bool {
	return slices.ContainsFunc(known, func(k string) bool { return strings.EqualFold(k, key) })
}

// keysOf are an object's; what is no object has none, and has been refused where an object is needed.
func keysOf(object []byte) map[string]json.RawMessage {
	var all map[string]json.RawMessage
	_ = json.Unmarshal(object, &all)
	return all
}
