package config

import (
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

// A node whose etcd was made anew would state the right of the defaults, and everybody would wait for that before a block is claimed.
func TestWhereNobodyHasConfiguredAnythingTheSettingsStayAsTheyWere(t *testing.T) {
	was := record.DefaultSettings()
	was.AddressLease = allocator.Duration(time.Minute)
	before := &Config{Settings: was} // as after a reset: of no revision
	configured := record.DefaultSettings()
	configured.Session = allocator.Duration(time.Minute)
	for what, c := range map[string]struct {
		read *Config
		want record.Settings
	}{
		"nobody has configured anything":       {&Config{Settings: record.DefaultSettings()}, was},
		"somebody has configured the defaults": {&Config{Settings: record.DefaultSettings(), Revision: 3}, record.DefaultSettings()},
		"the count of changes is missing":      {&Config{Settings: configured}, configured},
		"so it is, and they are the defaults":  {&Config{Settings: record.DefaultSettings(), settled: true}, record.DefaultSettings()},
	} {
		if got := c.read.KeepKnown(before).Settings; !record.SameTimes(got, c.want) {
			t.Errorf("%s: they are %+v, want %+v", what, got, c.want)
		}
	}
}
