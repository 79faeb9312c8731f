package kernel

import (
	"errors"

	"github.com/berth-ipam/berth/netops"
)

// errRouted says what the model does not have: simulated pools are flat.
var errRouted = errors.New("the simulated kernel has no ports that their host routes to")

// Lead has the host route to a port: the model has none such.
func (k *Kernel) Lead(netops.Port) error { return errRouted }

// RoutedFaults compares the host with ports that it routes to: the model has none such.
func (k *Kernel) RoutedFaults([]netops.Port) ([]netops.HostFault, error) { return nil, errRouted }
