package manifest

import (
	"errors"

	"go.yaml.in/yaml/v3"

	"github.com/berth-ipam/berth/client"
)

// ParseSet reads a file that names containers, under the one key containers. The error is as Parse's.
func ParseSet(name string, data []byte) ([]client.Container, error) {
	document, err := read(name, data)
	if err != nil {
		return nil, err
	}
	p := &parser{name: name}
	var set []client.Container
	p.mapping(document, "the file", fields{"containers": func(n *yaml.Node) { set = p.containers(n) }})
	if len(p.errs) > 0 {
		return nil, errors.Join(p.errs...)
	}
	return set, nil
}

func (p *parser) containers(n *yaml.Node) []client.Container {
	var set []client.Container
	for _, item := range p.items(n, "containers", "a container such as {id: 4f1c0d6a8a1e, netns: /run/netns/a}") {
		var c client.Container
		before := len(p.errs)
		p.mapping(item, "container", fields{
			"id":         one(p, "id", &c.ID, word),
			"network":    one(p, "network", &c.Network, word),
			"interface":  one(p, "interface", &c.Interface, interfaceName),
			"role":       one(p, "role", &c.Role, word),
			"netns":      one(p, "netns", &c.Netns, word),
			"pid":        one(p, "pid", &c.PID, number),
			"class":      one(p, "class", &c.Class, word),
			"namespace":  one(p, "namespace", &c.Namespace, word),
			"app":        one(p, "app", &c.App, word),
			"member":     one(p, "member", &c.Member, word),
			"pool":       one(p, "pool", &c.Pool, word),
			"addresses":  list(p, "addresses", &c.Addresses, address),
			"mac":        one(p, "mac", &c.MAC, word),
			"bridge":     one(p, "bridge", &c.Bridge, interfaceName),
			"uplink":     one(p, "uplink", &c.Uplink, interfaceName),
			"masquerade": one(p, "masquerade", &c.Masquerade, truth),
		})
		if len(p.errs) == before && c.ID == "" {
			p.fail(item, "container: id is missing: want the container's ID")
		}
		set = append(set, c)
	}
	return set
}
