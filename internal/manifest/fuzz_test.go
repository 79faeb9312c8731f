package manifest

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/berth-ipam/berth/lease/config"
)

// Whatever Parse accepts is valid, and says the same when it is written out and read again.
func FuzzWhatIsReadIsValidAndReadsTheSameAgain(f *testing.F) {
	f.Add([]byte(smallest))
	f.Add([]byte(`{"pools": [{"name": "a", "cidrs": ["fd00::/64"], "exclude": ["fd00::1-fd00::9"], "reuse": "0s"}]}`))
	f.Add([]byte("settings: {operations: [read], session: 3s}\n"))
	f.Add([]byte("pools: [{name: a, cidrs: [10.0.0.0/16], dns: &d {search: [x]}, routes: [{to: 0.0.0.0/0, via: 10.0.0.2}]}]"))
	f.Add([]byte("pools: [{name: a, cidrs: [10.0.0.0/16], mode: routed, ipMasq: true}, {name: b, cidrs: [10.1.0.0/16], mode: flat}]"))
	f.Add([]byte("a: &a [*a]\n"))
	f.Add([]byte("--- \n...\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := Parse("f", data)
		if err != nil {
			return
		}
		next := m.On(&config.Config{})
		if len(next.Pools) != len(m.Pools) {
			t.Fatalf("%d pools became %d", len(m.Pools), len(next.Pools))
		}
		for name, pool := range next.Pools {
			if err := pool.Validate(); err != nil || pool.Name != name {
				t.Fatalf("pool %q is not valid: %v", name, err)
			}
		}
		written, err := json.Marshal(map[string]any{"pools": m.Pools, "settings": m.Settings})
		if err != nil {
			t.Fatal(err)
		}
		again, err := Parse("again", written)
		if err != nil {
			t.Fatalf("%s\n%v", written, err)
		}
		for i := range again.Pools {
			if a, b := jsonOf(t, m.Pools[i]), jsonOf(t, again.Pools[i]); a != b {
				t.Fatalf("%s\nread again: %s", a, b)
			}
		}
		if !reflect.DeepEqual(m.Settings, again.Settings) {
			t.Fatalf("settings %+v, read again %+v", m.Settings, again.Settings)
		}
	})
}

func jsonOf(t *testing.T, v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
