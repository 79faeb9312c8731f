package netops

import (
	"fmt"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// An examination is of one bridge.
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

// leave adds a fault that a person has to mend.
func (x *examination) leave(kind, person, format string, args ...any) {
	x.found = append(x.found, HostFault{Kind: kind, Text: fmt.Sprintf(format, args...), Person: person})
}
