package main

import (
	"encoding/json"
	"maps"
	"slices"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-ipam/berth/internal/wire"
)

// capabilities are the parts of runtimeConfig that Berth honours (CNI conventions, "Capabilities"). They are there
// when the operator has declared them for the plugin and the runtime has something to say.
type capabilities struct {
	IPs []string `json:"ips"`
	MAC string   `json:"mac"`
	DNS struct {
		Servers  []string `json:"servers"`
		Searches []string `json:"searches"`
		Options  []string `json:"options"`
	} `json:"dns"`
	Annotations map[string]string `json:"io.kubernetes.cri.pod-annotations"`
}

func (c *capabilities) dns() types.DNS {
	return types.DNS{Nameservers: c.DNS.Servers, Search: c.DNS.Searches, Options: c.DNS.Options}
}

// ranges is the capability, of those that Berth does not have, that is about addresses.
const ranges = "ipRanges"

// elsewhere are the well-known capabilities that Berth does not have, and what would be right.
var elsewhere = map[string]string{
	"portMappings":   `declare it for the chained plugin "portmap"`,
	"bandwidth":      `declare it for the chained plugin "bandwidth"`,
	"aliases":        "declare it for a chained plugin that serves names",
	"deviceID":       "declare it for the plugin of that device",
	"infinibandGUID": "declare it for the plugin of that device",
	ranges:           `make a pool with "berthctl apply" and name it as "pool"`,
}

// parseCapabilities reads runtimeConfig. A well-known capability that says something and that Berth does not have is
// an error, as the conventions want; under another interface plugin it is that plugin's, unless it is about addresses.
// Others merely inform.
func (c *config) parseCapabilities(text json.RawMessage) (*capabilities, error) {
	var all map[string]any
	if err := decode(`"runtimeConfig"`, text, &all); err != nil {
		return nil, err
	}
	for _, key := range slices.Sorted(maps.Keys(elsewhere)) {
		if c.role == wire.IPAM && key != ranges || empty(all[key]) {
			continue
		}
		value, _ := json.Marshal(all[key]) // it has just been decoded
		return nil, wire.Errorf(wire.CodeUnsupported, "runtimeConfig.%s is %s, which Berth cannot do: %s", key, value, elsewhere[key])
	}
	honoured := &capabilities{}
	return honoured, decode(`"runtimeConfig"`, text, honoured)
}

// empty reports whether a decoded JSON value says nothing.
func empty(value any) bool {
	switch v := value.(type) {
	case map[string]any:
		for _, inner := range v {
			if !empty(inner) {
				return false
			}
		}
		return true
	case []any:
		return len(v) == 0
	}
	return value == nil || value == "" || value == 0.0 || value == false
}
