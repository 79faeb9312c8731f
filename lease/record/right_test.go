package record_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

func pairOf(key, value string) *mvccpb.KeyValue {
	return &mvccpb.KeyValue{Key: []byte("/berth/v1/" + key), Value: []byte(value), ModRevision: 7}
}

// What a record need not have, and what is right only beside something else, is no damage.
func TestARecordThatIsRightIsRead(t *testing.T) {
	keys := kv.NewKeys("")
	const attachment = `{"network":"net","container":"c","interface":"eth0"}`
	const identity = `{"namespace":"ns","app":"db","member":"db-0","network":"net","interface":"eth0"}`
	for _, c := range []struct{ key, value string }{
		{"cluster", `{"id":"","life":2,"former":["a"]}`}, // voided
		{"config/revision", `{"changes":1}`},
		{"config/revision", `{"changes":1,"pools":0}`},
		{"config/settings", `{"operations":["read"],"fencing":"strict","session":"15s","addressLease":"1h"}`},
		{"config/settings", `{"operations":[],"fencing":"evidence","probe":"uplink","session":"15s","addressLease":"1h"}`},
		{"config/settings", `{"operations":[],"fencing":"evidence","probe":"off","session":"15s","addressLease":"1h"}`},
		{"nodes/n1", `{"name":"n1","machine":"","boot":"","journal":"","removed":"2026-01-01T00:00:00Z"}`},
		{"status/n1", `{"applied":7,"revision":7}`},
		{"blocks/p/10.0.0.0", `{"prefix":"10.0.0.0/26","parts":[{"prefix":"10.0.0.0/26","owner":"n1"}]}`},
		{"blocks/p/10.0.0.0", `{"prefix":"10.0.0.0/26","parts":[{"prefix":"10.0.0.9/32","owner":"machine","node":"n2"}]}`},
		{"assignments/p/10.0.0.9", `{"address":"10.0.0.9","attachment":` + attachment + `,"node":"n1"}`},
		{"assignments/p/10.0.0.9", `{"attachment":` + attachment + `,"app":{"namespace":"ns"},"node":"n1"}`},
		{"reservations/p/10.0.0.9", `{"identity":` + identity + `}`},
		{"reservations/p/10.0.0.9", fmt.Sprintf(`{"identity":`+identity+`,"epoch":%d}`, int64(kv.MaxCount))},
		{"reservations/p/10.0.0.9", `{"identity":` + identity + `,"holder":{"node":"n1","attachment":` + attachment + `}}`},
		{"questions/1/n1", `{"spaces":[{"pool":"p","parts":["10.0.0.0/8"]}]}`},
	} {
		if err := anyRecord(keys, pairOf(c.key, c.value)); err != nil {
			t.Errorf("%s as %s: %v", c.key, c.value, err)
		}
	}
}

// Some are right in each part and too large in the whole.
func TestARecordThatIsTooLargeIsRefused(t *testing.T) {
	keys := kv.NewKeys("")
	parts := func(n int) string {
		var all []string
		for i := range n {
			all = append(all, fmt.Sprintf(`{"prefix":"10.0.%d.%d/32","owner":"n1"}`, i>>8, i&255))
		}
		return `{"prefix":"10.0.0.0/16","parts":[` + strings.Join(all, ",") + `]}`
	}
	pool := func(n int) string {
		p := allocator.Pool{Name: "p", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}.WithDefaults()
		p.DNS.Domain = "a"
		p.DNS.Domain = strings.Repeat("a", 1+n-len(kv.Encode(p)))
		return kv.Encode(p)
	}
	for _, c := range []struct {
		key        string
		value      func(n int) string
		most, over int
		says       string
	}{
		{"blocks/p/10.0.0.0", parts, 4 * record.MaxParts, 4*record.MaxParts + 1, "4096 at most"},
		{"config/pools/p", pool, 262144, 262145, "262144 at most"},
	} {
		if err := anyRecord(keys, pairOf(c.key, c.value(c.most))); err != nil {
			t.Errorf("%s with %d: %v", c.key, c.most, err)
		}
		if err := anyRecord(keys, pairOf(c.key, c.value(c.over))); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s with %d: %v, want %q", c.key, c.over, err, c.says)
		}
	}
}

// An entry of the history says which revision its change made; what it cannot have made, it does not say.
func TestAnEntryOfTheHistoryThatWasPutBackKeepsItsRevisionAndNoneThatCannotBe(t *testing.T) {
	for said, want := range map[int64]int64{-1: 7, 0: 7, 3: 3, 7: 7, 8: 7} {
		h, err := record.HistoryCodec.Read(kv.NewKeys(""), pairOf("config/history/3", fmt.Sprintf(`{"number":3,"revision":%d}`, said)))
		if err != nil || h.Revision != want {
			t.Errorf("of one that says %d it is %d, %v: want %d", said, h.Revision, err, want)
		}
	}
}

func TestABlockIsNobodysOnlyWhereThereIsNoRecord(t *testing.T) {
	keys, block := kv.NewKeys(""), netip.MustParsePrefix("10.0.0.0/26")
	b, err := record.ReadBlock(keys, "p", block, nil)
	if err != nil || b.Revision != 0 || b.Prefix != block || b.Pool != "p" || len(b.Parts) > 0 {
		t.Errorf("without a record it is %+v, %v", b, err)
	}
	right := `{"prefix":"10.0.0.0/26","parts":[{"prefix":"10.0.0.0/26","owner":"n1"}]}`
	if b, err := record.ReadBlock(keys, "p", block, []*mvccpb.KeyValue{pairOf("blocks/p/10.0.0.0", right)}); err != nil || b.Revision != 7 ||
		b.OwnerOf(block.Addr()) != "n1" {
		t.Errorf("it is %+v, %v", b, err)
	}
	for wrong, says := range map[string]string{
		"{": "JSON", `{"prefix":"10.0.0.0/27","parts":[{"prefix":"10.0.0.0/27","owner":"n1"}]}`: "want 10.0.0.0/26",
	} {
		b, err := record.ReadBlock(keys, "p", block, []*mvccpb.KeyValue{pairOf("blocks/p/10.0.0.0", wrong)})
		if d := kv.Damage(err); d == nil || d.Key != "/berth/v1/blocks/p/10.0.0.0" || len(b.Parts) > 0 ||
			!strings.Contains(err.Error(), says) {
			t.Errorf("as %s it is %+v, %v", wrong, b, err)
		}
	}
}

// A record is read by the codec of its key's kind alone, also where the key says all that counts.
func TestARecordIsReadAsOfNoOtherKind(t *testing.T) {
	keys := kv.NewKeys("")
	for name, read := range map[string]func() error{
		"a node's record as a session": func() error { return errorOf(record.SessionCodec.Read(keys, pairOf("nodes/n1", `{}`))) },
		"a session as a status":        func() error { return errorOf(record.StatusCodec.Read(keys, pairOf("sessions/n1", `{}`))) },
		"an assignment as a block": func() error {
			return errorOf(record.BlockCodec.Read(keys, pairOf("assignments/p/10.0.0.0",
				`{"prefix":"10.0.0.0/26","parts":[{"prefix":"10.0.0.0/26","owner":"n1"}]}`)))
		},
	} {
		if err := read(); kv.Damage(err) == nil || !strings.Contains(err.Error(), "it is of kind") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARecordThatIsLongerThanEtcdTakesIsNotRead(t *testing.T) {
	long := `{"id":"a","accepted":"2026-01-01T00:00:00Z"` + strings.Repeat(" ", 2<<20) + `}`
	if err := anyRecord(kv.NewKeys(""), pairOf("cluster", long)); err == nil || !strings.Contains(err.Error(), "2097152 at most") {
		t.Errorf("the error is %v", err)
	}
}

// What a person sees of a value that is none stays short.
func TestALongValueIsShownByItsBeginning(t *testing.T) {
	err := anyRecord(kv.NewKeys(""), pairOf("nodes/n1", strings.Repeat("x", 100)))
	if err == nil || !strings.Contains(err.Error(), `"`+strings.Repeat("x", 40)+`" and 60 bytes more`) {
		t.Errorf("the error is %v", err)
	}
}

func TestWhatASettingsRecordLeavesOutIsTheDefault(t *testing.T) {
	got, err := record.SettingsCodec.Read(kv.NewKeys(""), pairOf("config/settings",
		`{"operations":["read"],"fencing":"strict","session":"15s","addressLease":"1h"}`))
	if err != nil || got.Probe != record.DefaultSettings().Probe || got.Fencing != record.FencingStrict {
		t.Errorf("the settings are %+v, %v", got, err)
	}
}
