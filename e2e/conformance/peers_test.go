package conformance

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/internal/sandbox"
)

var (
	binaries string // the directory of Berth's own programs
	peers    string // that of the CNI project's plugins
	noPeers  error
)

func TestMain(m *testing.M) {
	var err error
	if binaries, err = lab.Build(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	peers, noPeers = lab.Plugins()
	if err := lab.Enter(); err != nil {
		fmt.Println("skipped, all of it:", err)
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// known are the promises that the plugins do not keep, by how they begin, and why. A row that fails besides them, or one
// of them that holds, shows a mistake in the suite.
var known = map[string]map[string]string{
	"host-local": {
		"exit with a return code":                          "its errors have no cniVersion",
		"CNI_ARGS IP= is ignored":                          "it tries to give both",
		"consult the prevResult: one with another address": "its CHECK does not compare the address",
		"if a plugin has a limited number":                 "its STATUS knows nothing of exhaustion",
		"GC should remove":                                 noGC,
		"an empty list names no attachment":                noGC,
		"a valid attachment is a pair":                     noGC,
		"the plugin may assume":                            noGC,
		"a list that cannot be decoded":                    noGC,
	},
	"bridge": {
		"exit with a return code":                            "its errors have no cniVersion",
		"CNI_ARGS IP= is ignored":                            "its IPAM plugin tries to give both",
		"if a plugin has a limited number":                   "its IPAM plugin's STATUS knows nothing of exhaustion",
		"8: the plugin's own namespace":                      "it makes an interface there, and only then sees that it must not",
		"a supplied prevResult MUST be handled":              "it drops it",
		"if an interface of the requested name":              "the DEL after the failed ADD removes the other's interface",
		"an error if the container is generally unreachable": "its CHECK does not look at the host's end's state",
		"GC should remove":                                   noGC,
		"an empty list names no attachment":                  noGC,
		"a valid attachment is a pair":                       noGC,
		"the plugin may assume":                              noGC,
		"a list that cannot be decoded":                      noGC,
	},
}

const noGC = "it has no GC"

func TestTheCNIProjectsPluginsFailOnlyWhatTheyAreKnownFor(t *testing.T) {
	if noPeers != nil {
		t.Skip("the CNI project's plugins cannot be built here: ", noPeers)
	}
	for name, subject := range subjects(t) {
		t.Run(name, func(t *testing.T) { compare(t, subject, known[name]) })
	}
}

func compare(t *testing.T, subject *Subject, known map[string]string) {
	rows, verdicts := 0, map[string][]Verdict{}
	for _, version := range Versions {
		for _, row := range Rows() {
			if !row.Applies(subject) {
				continue
			}
			rows++
			if verdict := Try(t.Context(), subject, row, version); len(verdict.Failures) > 0 {
				verdicts[row.Promise] = append(verdicts[row.Promise], verdict)
			}
		}
	}
	failed := 0
	unseen := maps.Clone(known)
	for _, promise := range slices.Sorted(maps.Keys(verdicts)) {
		failed += len(verdicts[promise])
		why := "nobody knows why"
		for beginning, reason := range known {
			if strings.HasPrefix(promise, beginning) {
				delete(unseen, beginning)
				why = reason
			}
		}
		report := t.Logf
		if why == "nobody knows why" {
			report = t.Errorf
		}
		report("fails at %d versions, since %s: %v", len(verdicts[promise]), why, verdicts[promise][0])
	}
	for beginning := range unseen {
		t.Errorf("it keeps %q, of which it is known that it does not", beginning)
	}
	t.Logf("%d of %d rows hold", rows-failed, rows)
}

// subjects are host-local alone, and bridge over it, in both families.
func subjects(t *testing.T) map[string]*Subject {
	node := "/run/netns/node"
	if err := sandbox.Namespace(node); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sandbox.Remove(node) })
	const store = "/run/host-local"
	held := func(context.Context) (int, error) {
		files, err := filepath.Glob(store + "/*/[0-9a-f]*[.:]*")
		return len(files) / 2, err // one a family
	}
	ipam := func(v4, v6 string) map[string]any {
		return map[string]any{
			"type": "host-local", "dataDir": store,
			"ranges": []any{[]any{map[string]any{"subnet": v4}}, []any{map[string]any{"subnet": v6}}},
			"routes": []any{map[string]any{"dst": "0.0.0.0/0"}, map[string]any{"dst": "::/0"}},
		}
	}
	wide, small := ipam("10.60.0.0/16", "fd60::/64"), ipam("10.61.0.0/29", "fd61::/64")
	bridge := func(ipam map[string]any) map[string]any {
		return map[string]any{"type": "bridge", "bridge": "cf0", "isGateway": true, "ipam": ipam}
	}
	base := Subject{Netns: node, Patience: 200 * time.Millisecond, Families: []int{4, 6}, Held: held, Requests: []netip.Prefix{
		netip.MustParsePrefix("10.60.9.7/16"), netip.MustParsePrefix("fd60::9:7/64"),
	}}
	hostLocal, over := base, base
	over.Requests = slices.Clone(base.Requests)
	hostLocal.Plugin, hostLocal.Role = filepath.Join(peers, "host-local"), IPAM
	hostLocal.Config, hostLocal.Small = map[string]any{"type": "peer", "ipam": wide}, map[string]any{"ipam": small}
	over.Plugin, over.Role, over.MAC = filepath.Join(peers, "bridge"), Interface, true
	over.Config, over.Small = bridge(wide), map[string]any{"isGateway": false, "ipam": small}
	Warm(t.Context(), &over)
	return map[string]*Subject{"host-local": &hostLocal, "bridge": &over}
}
