package doctor

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/record"
)

func TestADamagedRecordKeepsNothingElseFromBeingRepaired(t *testing.T) {
	l := newLab(t)
	l.has("n1", "a", "10.42.64.9")
	l.del("assignments/default/10.42.64.9")
	l.put("config/pools/other", "{")
	l.put("status/ghost", "{}")
	l.put("blocks/default/10.42.90.0", "{")
	l.put("reservations/default/10.42.3.9", "{")
	l.put("nodes/other", "{")
	l.put("nonsense", "{}") // nobody reads it
	for _, f := range l.fixes(KeyUnreadable, ContainerUnassigned).Findings {
		if strings.Contains(f.Cause, "lease:") {
			t.Errorf("it is told as %+v", f)
		}
	}
	if !slices.Contains(l.repaired, "n1") {
		t.Errorf("asked to settle were %q, want n1", l.repaired)
	}
}

// Each record of the cluster is damaged in each way, one at a time; then the doctor names it, puts back exactly what was
// there, and nobody has lost anything.
func TestADamagedRecordIsNamedFirstAndBecomesWhatItWas(t *testing.T) {
	damages := map[string]func(string) string{
		"cut":             func(v string) string { return v[:len(v)/2] },
		"empty":           func(string) string { return "" },
		"null":            func(string) string { return "null" },
		"another type":    func(string) string { return `["a list"]` },
		"an empty object": func(string) string { return "{}" },
		"another's record": func(string) string {
			return `{"name":"zz","prefix":"10.9.0.0/26","id":7,"operations":"x","identity":[],"pool":5,"changes":-1}`
		},
		"a block size of 33": func(v string) string { return strings.ReplaceAll(v, `"v4":26`, `"v4":33`) },
	}
	for name, damage := range damages {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			l.reserve("db-0", "10.42.0.9")
			l.has("n1", "a", "10.42.64.9")
			l.put("reservations/default/10.42.0.9", holding("db-0", "n2", "m", 3))
			l.has("n2", "m", "10.42.0.9", stateful("db-0", 3))
			l.fence(record.FencingStrict)
			l.finds()
			for _, key := range []string{
				"config/pools/default", "config/settings", "blocks/default/10.42.64.0", "blocks/default/10.42.0.0",
				"reservations/default/10.42.0.9", "identities/net/ns/db/db-0/eth0", "config/revision",
			} {
				before := l.get(key)
				after := damage(before)
				if after == before || before == "" {
					continue
				}
				l.put(key, after)
				found := l.examine().Findings
				if len(found) == 0 || found[0].Kind != RecordUnreadable || found[0].Key != l.prefix+"/"+key || !found[0].Fix {
					t.Errorf("of %s as %q it says %+v", key, after, found)
				}
				if key == "config/revision" { // its record is the version, and nobody here follows
					l.fixes(NodeBehind, NodeBehind)
					continue
				}
				l.fixes()
				if got := l.get(key); got != strings.ReplaceAll(before, "\n\t\t", "") {
					t.Errorf("%s has become %s, want %s", key, got, before)
				}
			}
		})
	}
}

// While a record cannot be read on which others rest, the doctor advises nothing by which somebody could lose something.
func TestWhileARecordCannotBeReadNobodyIsToLoseAnything(t *testing.T) {
	l := newLabApart(t)
	l.reserve("db-0", "10.42.0.9")
	l.put("reservations/default/10.42.0.9", holding("db-0", "ghost", "b", 3))
	l.put("blocks/default/10.42.80.0", `{"prefix":"10.42.80.0/26","parts":[{"prefix":"10.42.80.0/26","owner":"ghost"}]}`)
	l.put("nodes/n3", someNode)
	for _, key := range []string{"nodes/n2", "blocks/default/10.42.64.64", "reservations/default/10.42.0.44", "identities/net/ns/x/y/eth0"} {
		l.put(key, "{")
		l.forget()
		for _, f := range l.examine().Findings {
			for _, word := range []string{"node remove", "release", "etcdctl del", "berthctl delete", "ip link del"} {
				if strings.Contains(f.Repair, word) && !strings.Contains(f.Repair, "nobody uses it") {
					t.Errorf("with %s damaged it advises %q for %s", key, f.Repair, f.Kind)
				}
			}
			if f.takes && f.repair != nil {
				t.Errorf("with %s damaged it would repair %+v", key, f)
			}
		}
		l.del(key)
	}
}

func TestAPoolThatSomebodyDeletedIsTheCauseOfAllThatLiesInIt(t *testing.T) {
	l := newLab(t)
	l.reserve("db-0", "10.42.0.9")
	l.has("n1", "a", "10.42.64.9")
	before := l.get("config/pools/default")
	l.del("config/pools/default")
	if f := l.finds(RecordUnreadable)[0]; !f.Fix || !strings.Contains(f.Repair, "etcdctl put") {
		t.Errorf("it is told as %+v", f)
	}
	l.fixes()
	if got := l.get("config/pools/default"); got != before {
		t.Errorf("the pool has become %s, want %s", got, before)
	}
}

// forget has etcd forget what its keys were.
func (l *lab) forget() {
	l.Helper()
	now, err := l.etcd.Put(l.Context(), fmt.Sprintf("%s-elsewhere", l.prefix), "")
	l.check(err)
	if _, err := l.etcd.Compact(l.Context(), now.Header.Revision, clientv3.WithCompactPhysical()); err != nil &&
		!strings.Contains(err.Error(), "compacted") {
		l.check(err)
	}
}
