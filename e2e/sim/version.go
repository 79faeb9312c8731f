package sim

import (
	"context"
	"fmt"
	"reflect"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/rollout"
)

// doDNS changes what only containers get that are made after it.
func doDNS(c *Cluster, s Step) error {
	return c.change(func(next *config.Config) {
		p := next.Pools[poolName]
		p.DNS.Nameservers = []string{fmt.Sprint("10.0.0.", 1+s.Choice%4)}
		next.Pools[poolName] = p
	})
}

// doVersion is berthctl version. What it says of a container is judged.
func doVersion(c *Cluster, _ Step) error {
	return c.operate(func(ctx context.Context, o *lease.Operator) error {
		asked := time.Now()
		v, err := o.Rollout.Version(ctx, rollout.Selector{})
		if err != nil {
			return err
		}
		now, err := o.Config.Read(ctx)
		if err != nil || now.Revision != v.Revision {
			return err
		}
		c.judge.version(v, now.Pools, asked)
		return nil
	})
}

// version judges that who is said to have the configuration was given what it says.
func (j *judge) version(v *rollout.SetVersion, pools map[string]allocator.Pool, asked time.Time) {
	says := map[string]bool{}
	for _, one := range v.Containers {
		says[one.Node+" "+one.ID] = one.UpToDate
	}
	for _, c := range j.containersOf(nil) {
		f := c.fate()
		pool, known := pools[c.place.pool]
		if !known || !c.running() || !f.answered.Before(asked) || f.dns == nil || !says[c.node.name+" "+c.id] {
			continue
		}
		if want := pool.DNS; !reflect.DeepEqual(allocator.DNS(*f.dns), want) {
			j.cluster.violate(Violation{Rule: "version",
				What: fmt.Sprintf("%v is said to have revision %d, and was given %+v, not %+v", c, v.Revision, *f.dns, want)})
		}
	}
}
