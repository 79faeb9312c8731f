package netops

import (
	"errors"
	"io/fs"
	"slices"

	"github.com/berth-ipam/berth/netops/sysctl"
)

// forwarding runs in the host's namespace.
func (x *examination) forwarding() error {
	seen := map[string]bool{}
	for _, p := range slices.Concat(x.want.Addresses, x.want.Masquerade) {
		base, name := sysctl.V4, "IPv4"
		if p.Addr().Is6() {
			base, name = sysctl.V6, "IPv6"
		}
		for _, of := range [...]string{"all", x.want.Name} {
			is, err := sysctl.Read(base, of, "forwarding")
			if errors.Is(err, fs.ErrNotExist) {
				continue // the bridge is gone
			}
			if err != nil {
				return err
			}
			if is == "0" && !seen[name] {
				x.add("forwarding-off", "the host forwards no %s packets of bridge %s: %s/%s/forwarding is 0", name, x.want.Name, base, of)
				seen[name] = true
			}
		}
	}
	return nil
}

func (x *examination) masquerading() error {
	for _, pool := range x.want.Masquerade {
		is, err := x.k.Masquerades(pool.Masked(), x.want.Cluster)
		if err != nil {
			return err
		}
		if !is {
			x.add("masquerade-gone", "the nftables rule that masquerades %v is gone, or the set of what it spares", pool)
		}
	}
	return nil
}
