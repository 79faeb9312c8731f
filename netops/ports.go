package netops

import (
	"fmt"
	"strings"
)

// Ports lists the ports of this host, told by their names.
func (k *Kernel) Ports() ([]PortInfo, error) {
	var all []link
	err := k.host.with(func(s *socket) (err error) { all, err = links(s); return err })
	if err != nil {
		return nil, fmt.Errorf("netops: %w", err)
	}
	names := make(map[int]string, len(all))
	for _, l := range all {
		names[l.index] = l.name
	}
	var ports []PortInfo
	for _, l := range all {
		if strings.HasPrefix(l.name, Prefix) {
			ports = append(ports, PortInfo{Name: l.name, Alias: l.words(), Bridge: names[l.master], Index: l.index})
		}
	}
	return ports, nil
}
