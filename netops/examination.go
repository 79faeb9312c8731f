package netops

import (
	"fmt"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// An examination compares one bridge.
type examination struct {
	k      *Kernel
	want   Bridge
	byName map[string]rtnl.Link
	names  map[int]string
	bridge rtnl.Link
	found  []HostFault
}

func (x *examination) add(kind, format string, args ...any) {
	x.found = append(x.found, HostFault{Kind: kind, Text: fmt.Sprintf(format, args...)})
}

// report adds a fault that an operator has to repair.
func (x *examination) report(kind, person, format string, args ...any) {
	x.found = append(x.found, HostFault{Kind: kind, Text: fmt.Sprintf(format, args...), Advice: person})
}
