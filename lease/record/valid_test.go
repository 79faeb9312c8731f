package record_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/mvccpb"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
)

// Every value here was, or could be, written by somebody with etcdctl. Each is refused with words that say what is wrong.
func TestARecordThatCannotBeIsRefusedWhereItIsRead(t *testing.T) {
	keys := kv.NewKeys("")
	const attachment = `{"network":"net","container":"c","interface":"eth0"}`
	const identity = `{"namespace":"ns","app":"db","member":"db-0","network":"net","interface":"eth0"}`
	for _, c := range []struct{ key, value, says string }{
		{"cluster", `{}`, "id is missing"},
		{"cluster", `{"id":"not hexadecimal"}`, "hexadecimal"},
		{"cluster", `{"id":"a","life":-1}`, "life -1"},
		{"cluster", `{"id":"a","former":["a","not hexadecimal"]}`, "hexadecimal"},
		{"nodes/n1", `{"name":"n2","machine":"m"}`, `want "n1"`},
		{"nodes/n1", `{"name":"n1","machine":"m","hops":["fe80::1"],"fencing":"evidence","session":"15s","addressLease":"1h"}`, "hops"},
		{"nodes/n1", `{"name":"n1","machine":"m","hops":["10.0.0.1","10.0.0.2"],"fencing":"evidence","session":"15s","addressLease":"1h"}`,
			"one address of a family"},
		{"nodes/n1", `{"name":"n1","fencing":"evidence","session":"15s","addressLease":"1h"}`, "machine is missing"},
		{"nodes/n1", `{"name":"n1","machine":"m","fencing":"none","session":"15s","addressLease":"1h"}`, "fencing"},
		{"nodes/n1", `{"name":"n1","machine":"m","fencing":"evidence","session":"-15s","addressLease":"1h"}`, "session"},
		{"nodes/n1", `{"name":"n1","machine":"m","fencing":"evidence","session":"15s","addressLease":"2562047h"}`, "addressLease"},
		{"nodes/stateful", `{"name":"stateful","removed":"2026-01-01T00:00:00Z"}`, "no node may be called so"},
		{"nodes/machine", `{"name":"machine","removed":"2026-01-01T00:00:00Z"}`, "no node may be called so"},
		{"status/n1", `{"node":"n2"}`, `want "n1"`},
		{"status/n1", `{"applied":900}`, "written at revision 7"},
		{"status/n1", `{"revision":900}`, "written at revision 7"},
		{"status/n1", `{"batch":-4}`, "batch"},
		{"status/n1", `{"laggingCount":0,"lagging":[{"attachment":` + attachment + `}]}`, "laggingCount"},
		{"blocks/p/10.0.0.0", `{"prefix":"10.0.0.64/26","parts":[{"prefix":"10.0.0.64/26","owner":"n1"}]}`, "as its key says"},
		{"blocks/p/10.0.0.0", `{"prefix":"10.0.0.0/8","parts":[{"prefix":"10.0.0.0/8","owner":"n1"}]}`, "/16 or smaller"},
		{"blocks/p/10.0.0.0", `{"prefix":"10.0.0.0/26","parts":[{"prefix":"10.0.0.0/26"}]}`, "owner"},
		{"blocks/p/10.0.0.0", `{"prefix":"10.0.0.0/26","parts":[{"prefix":"10.0.1.0/26","owner":"n1"}]}`, "outside of its block"},
		{"blocks/p/10.0.0.0", `{"prefix":"10.0.0.0/26","parts":[{"prefix":"10.0.0.9/27","owner":"n1"}]}`, "bits beyond"},
		{"blocks/p/10.0.0.0", `{"prefix":"10.0.0.0/26","parts":[{"prefix":"10.0.0.32/27","owner":"n1"},{"prefix":"10.0.0.0/26","owner":"n2"}]}`,
			"overlap"},
		{"blocks/p/10.0.0.0", `{"prefix":"10.0.0.0/26","parts":[{"prefix":"10.0.0.0/24","owner":"n1"}]}`, "outside of its block"},
		{"blocks/p/10.0.0.0", `{"prefix":"10.0.0.0/26","parts":[{"prefix":"10.0.0.0/32","owner":"machine"}]}`, "node of part"},
		{"blocks/p/10.0.0.0", `{"prefix":"","parts":[]}`, "prefix is missing"},
		{"blocks/p/10.0.0.0", `{"parts":[{"prefix":"10.0.0.0/26","owner":"n1"}]}`, "prefix is missing"},
		{"blocks/p/10.0.0.0", `{"pool":"q","prefix":"10.0.0.0/26","parts":[{"prefix":"10.0.0.0/26","owner":"n1"}]}`, `want "p"`},
		{"blocks/p/::ffff:10.0.0.0", `{}`, "want 10.0.0.0"},
		{"assignments/p/10.0.0.9", `{"attachment":` + attachment + `}`, "node is missing"},
		{"assignments/p/10.0.0.9", `{"node":"n1"}`, "network is missing"},
		{"assignments/p/10.0.0.9", `{"address":"10.0.0.8","attachment":` + attachment + `,"node":"n1"}`, "as its key says"},
		{"assignments/p/10.0.0.9", `{"attachment":` + attachment + `,"app":{"namespace":"a/b"},"node":"n1"}`, `namespace "a/b"`},
		{"assignments/p/10.0.0.9", `{"attachment":` + attachment + `,"app":{"app":"a/b"},"node":"n1"}`, `app "a/b"`},
		{"reservations/p/10.0.0.9", `{}`, "namespace is missing"},
		{"reservations/p/10.0.0.9", `{"identity":` + identity + `,"epoch":-1}`, "epoch"},
		{"reservations/p/10.0.0.9", `{"identity":` + identity + `,"epoch":-1,"holder":{"node":"n1","attachment":` + attachment + `}}`, "epoch"},
		{"reservations/p/10.0.0.9", `{"identity":` + identity + `,"epoch":9223372036854775807}`, "epoch"},
		{"reservations/p/10.0.0.9", `{"identity":` + identity + `,"holder":{"node":"n1"}}`, "holder: network is missing"},
		{"reservations/p/10.0.0.9", `{"identity":` + identity + `,"holder":{"attachment":` + attachment + `}}`, "holder: node is missing"},
		{"identities/net/ns/db/db-0/eth0", `{"pool":"p"}`, "addresses is empty"},
		{"identities/net/ns/db/db-0/eth0", `{"pool":"p","addresses":["10.0.0.1","10.0.0.2"]}`, "second one"},
		{"identities/net/ns/db/db-0/eth0", `{"addresses":["10.0.0.1"]}`, "pool is missing"},
		{"identities/net/ns/db/db-0/eth0", `{"pool":"p","addresses":["::ffff:10.0.0.1"]}`, "want 10.0.0.1"},
		{"demands/p/n1", `{"v4":-1}`, "v4 -1"},
		{"config/history/3", `{"number":4}`, "want 3"},
		{"config/revision", `{"changes":0}`, "changes 0"},
		{"config/revision", `{"changes":1,"pools":-1}`, "pools -1"},
		{"config/revision", `{"changes":9223372036854775807}`, "changes 9223372036854775807"},
		{"config/settings", `{"fencing":"strict"}`, "operations is missing"},
		{"config/settings", `{"operations":["fly"],"fencing":"strict","session":"15s","addressLease":"1h"}`, "fly"},
		{"config/settings", `{"operations":["read"],"fencing":"strict","probe":"often","session":"15s","addressLease":"1h"}`, "often"},
		{"config/pools/p", `{"name":"p","cidrs":["10.0.0.0/16"],"blockSize":{"v4":33,"v6":122}}`, "blockSize"},
		{"config/pools/p", `{"name":"q","cidrs":["10.0.0.0/16"],"blockSize":{"v4":26,"v6":122}}`, `want "p"`},
		{"config/pools/p", `{"name":"p","cidrs":["10.0.0.0/16"],"blockSize":{"v4":26,"v6":122},"cooldown":"2562047h47m16s"}`, "cooldown"},
		{"questions/1/n1", `{"spaces":[{"parts":["10.0.0.1/8"]}]}`, "bits beyond"},
		{"questions/1/n1", `{"spaces":[{"parts":["::ffff:10.0.0.0/120"]}]}`, "want 10.0.0.0"},
		{"questions/1/n1", `{"attachments":[{"addresses":["10.0.0.1","::ffff:10.0.0.1"]}]}`, "want 10.0.0.1"},
		{"questions/1/n1", `{"node":"n2"}`, `want "n1"`},
		{"questions/1/n1", `{"slot":"2"}`, `want "1"`},
		{"questions/1", `{"slot":"2"}`, `want "1"`},
		{"nodes/n1", `null`, "want a JSON object"},
		{"nodes/n1", ``, "want a JSON object"},
		{"nodes/n1", `{`, "JSON"},
		{"nodes/a/b", `{}`, "names after"},
		{"config/strange", `{}`, `no record is of kind "config/strange"`},
		{"elsewhere", `{}`, `no record is of kind "elsewhere"`},
	} {
		err := anyRecord(keys, &mvccpb.KeyValue{Key: []byte("/berth/v1/" + c.key), Value: []byte(c.value), ModRevision: 7})
		if err == nil || !strings.Contains(err.Error(), c.says) || kv.Damage(err) == nil || kv.Damage(err).Key != "/berth/v1/"+c.key {
			t.Errorf("%s as %s: error %v, want one of the record's that says %q", c.key, c.value, err, c.says)
		}
	}
}

func TestASessionIsThereWhateverIsWrittenIntoItsKey(t *testing.T) {
	for _, value := range []string{"", "{", "null", `{"since":"yesterday"}`} {
		p, err := record.SessionCodec.Read(kv.NewKeys(""), &mvccpb.KeyValue{Key: []byte("/berth/v1/sessions/n1"), Value: []byte(value),
			ModRevision: 7})
		if err != nil || p.Node != "n1" || p.Revision != 7 {
			t.Errorf("with %q it is %+v, %v: a node that lives would count as absent", value, p, err)
		}
	}
}

func TestAnAnswerIsANodes(t *testing.T) {
	_, err := record.AnswerCodec.Read(kv.NewKeys(""), &mvccpb.KeyValue{Key: []byte("/berth/v1/questions/1"), Value: []byte("{}")})
	if kv.Damage(err) == nil || !strings.Contains(err.Error(), "names no node") {
		t.Errorf("the error is %v", err)
	}
}

// anyRecord reads a record by the codec that its key asks for.
func anyRecord(keys kv.Keys, pair *mvccpb.KeyValue) error {
	key, _ := keys.Parse(string(pair.Key))
	switch key.Kind {
	case kv.KindCluster:
		return errorOf(record.ClusterCodec.Read(keys, pair))
	case kv.KindRevision:
		return errorOf(record.RevisionCodec.Read(keys, pair))
	case kv.KindSettings:
		return errorOf(record.SettingsCodec.Read(keys, pair))
	case kv.KindPool:
		return errorOf(record.PoolCodec.Read(keys, pair))
	case kv.KindHistory:
		return errorOf(record.HistoryCodec.Read(keys, pair))
	case kv.KindNode:
		return errorOf(record.NodeCodec.Read(keys, pair))
	case kv.KindSession:
		return errorOf(record.SessionCodec.Read(keys, pair))
	case kv.KindStatus:
		return errorOf(record.StatusCodec.Read(keys, pair))
	case kv.KindAssignment:
		return errorOf(record.AssignmentCodec.Read(keys, pair))
	case kv.KindReservation:
		return errorOf(record.ReservationCodec.Read(keys, pair))
	case kv.KindIdentity:
		return errorOf(record.IdentityCodec.Read(keys, pair))
	case kv.KindDemand:
		return errorOf(record.DemandCodec.Read(keys, pair))
	case kv.KindQuestion:
		if key.Node != "" {
			return errorOf(record.AnswerCodec.Read(keys, pair))
		}
		return errorOf(record.QuestionCodec.Read(keys, pair))
	case kv.KindCheck:
		if key.Node != "" {
			return errorOf(record.CheckAnswerCodec.Read(keys, pair))
		}
		return errorOf(record.CheckCodec.Read(keys, pair))
	}
	return errorOf(record.BlockCodec.Read(keys, pair))
}

func errorOf[T any](_ T, err error) error { return err }

// Whatever is written to whatever key: nothing panics, and what is accepted can be built upon.
func FuzzNoValueBreaksItsReader(f *testing.F) {
	for _, seed := range []struct{ key, value string }{
		{"cluster", `{"id":"cdf818194e3a8c32","accepted":"2026-01-01T00:00:00Z","life":2,"former":["a"]}`},
		{"config/revision", `{"changes":3,"pools":1,"settings":true,"former":[{"address":"10.0.0.1","since":4}]}`},
		{"config/settings", `{"operations":["read","insert","delete"],"fencing":"strict","session":"15s","addressLease":"1h0m0s"}`},
		{"config/history/3", `{"number":3,"who":"x","when":"2026-01-01T00:00:00Z","changes":[],"before":{},"after":{}}`},
		{"config/pools/p", `{"name":"p","cidrs":["10.42.0.0/16","fd00::/64"],"gateways":["10.42.0.1"],"stateful":["10.42.0.0/20"],"exclude":["10.42.9.0-10.42.9.7"],"blockSize":{"v4":26,"v6":122},"reuse":"10m0s","cooldown":"30s"}`},
		{"nodes/n1", `{"name":"n1","machine":"m","boot":"b","journal":"j","fencing":"evidence","session":"15s","addressLease":"1h0m0s","started":"2026-01-01T00:00:00Z"}`},
		{"sessions/n1", `{"since":"2026-01-01T00:00:00Z"}`},
		{"status/n1", `{"applied":3,"revision":3,"containers":1,"lagging":[{"attachment":{"network":"n","container":"c","interface":"e"},"reason":"r"}],"laggingCount":1,"batch":7}`},
		{"blocks/p/10.42.64.0",
			`{"prefix":"10.42.64.0/26","parts":[{"prefix":"10.42.64.0/27","owner":"n1"},{"prefix":"10.42.64.32/27","owner":"machine","node":"n2"}]}`},
		{"assignments/p/10.42.64.9",
			`{"attachment":{"network":"n","container":"c","interface":"e"},"app":{"namespace":"a","app":"b"},"node":"n1","since":"2026-01-01T00:00:00Z"}`},
		{"reservations/p/10.42.0.9",
			`{"identity":{"namespace":"a","app":"b","member":"c","network":"n","interface":"e"},"since":"2026-01-01T00:00:00Z","epoch":4,"holder":{"attachment":{"network":"n","container":"c","interface":"e"},"node":"n1","since":"2026-01-01T00:00:00Z"}}`},
		{"identities/n/a/b/c/e", `{"pool":"p","addresses":["10.42.0.9","fd00::9"]}`},
		{"demands/p/n1", `{"v4":3,"since":"2026-01-01T00:00:00Z"}`},
		{"questions/1", `{"who":"x","asked":"2026-01-01T00:00:00Z"}`},
		{"questions/1/n1", `{"generation":4,"attachments":[{"addresses":["10.0.0.1"]}],"ports":[],"spaces":[{"pool":"p","parts":["10.42.64.0/26"]}]}`},
		{"checks/connectivity", `{"id":"a","nodes":["n1"],"from":["n1"],"pools":["p"],"keep":"1m30s","ask":"30s",` +
			`"peers":[{"node":"n1","hops":["192.0.2.1"],"probes":[{"pool":"p","addresses":["10.42.64.9"],"mtu":1500}]}]}`},
		{"checks/connectivity/n1", `{"id":"a","generation":4,"probes":[{"pool":"p","mode":"routed","addresses":["10.42.64.9"],"mtu":1500}],` +
			`"asked":true,"results":[{"pool":"p","node":"n2","steps":[{"step":"whole","to":"10.42.64.10","state":"ok"}]}]}`},
	} {
		f.Add(seed.key, seed.value, int64(9))
	}
	keys := kv.NewKeys("")
	f.Fuzz(func(t *testing.T, key, value string, revision int64) {
		pair := &mvccpb.KeyValue{Key: []byte("/berth/v1/" + key), Value: []byte(value), ModRevision: revision, Version: 1}
		if err := anyRecord(keys, pair); err != nil && kv.Damage(err) == nil {
			t.Errorf("%q at %q: %v is no error of the record's", value, key, err)
		}
		use(t, keys, pair)
	})
}

// use does with what is accepted what the code behind does with it.
func use(t *testing.T, keys kv.Keys, pair *mvccpb.KeyValue) {
	if b, err := record.BlockCodec.Read(keys, pair); err == nil {
		useBlock(t, b)
	}
	if p, err := record.PoolCodec.Read(keys, pair); err == nil {
		usePool(t, p)
	}
	if n, err := record.NodeCodec.Read(keys, pair); err == nil && n.Removed == nil {
		if right := n.AddressLease; right < 0 || right+right/10 < right || n.Session > right {
			t.Errorf("node %+v has a right that would be over at once", n)
		}
	}
	if r, err := record.ReservationCodec.Read(keys, pair); err == nil {
		if r.Identity.Validate() != nil || r.Epoch+1 <= r.Epoch || r.Epoch < 0 || r.Holder != nil && r.Holder.Attachment.Validate() != nil {
			t.Errorf("the reservation is %+v", r)
		}
		back := &mvccpb.KeyValue{Key: []byte(keys.Reservation(r.Pool, r.Address)), Value: []byte(kv.Encode(r)), ModRevision: pair.ModRevision}
		if again, err := record.ReservationCodec.Read(keys, back); err != nil || again.Identity != r.Identity || again.Epoch != r.Epoch {
			t.Errorf("written and read again %+v is %+v, %v", r, again, err)
		}
	}
	if r, err := record.IdentityCodec.Read(keys, pair); err == nil && (len(r.Addresses) == 0 || len(r.Addresses) > 2) {
		t.Errorf("the identity's record is %+v", r)
	}
	if s, err := record.StatusCodec.Read(keys, pair); err == nil && (s.Batch+1 <= 0 || s.Applied > pair.ModRevision) {
		t.Errorf("the status is %+v at revision %d", s, pair.ModRevision)
	}
}

func useBlock(t *testing.T, b record.Block) {
	covered := allocator.Subtract(b.Prefix, record.PrefixesOf(b.Parts))
	for _, p := range b.Parts {
		if p.Owner == "" || !b.Prefix.Contains(p.Prefix.Addr()) || slices.ContainsFunc(covered, p.Prefix.Overlaps) {
			t.Errorf("block %+v has the part %+v", b, p)
		}
	}
	if len(b.Parts) == 0 {
		return
	}
	owner := b.Parts[0].Owner
	if all := b.Covered("zz"); len(all.Uncovered()) > 0 {
		t.Errorf("nothing of %+v is nobody's, and yet %v", all, all.Uncovered())
	}
	if left := b.Moved(b.Parts[0].Prefix, owner, ""); left.OwnerOf(b.Parts[0].Prefix.Addr()) != "" {
		t.Errorf("what %s has given up of %+v is still its own", owner, b)
	}
}

func usePool(t *testing.T, p allocator.Pool) {
	for _, f := range p.Families() {
		block, ok := p.PickBlock(f, 7, func(netip.Prefix) bool { return false })
		if ok && p.BlockOf(block.Addr()) != block {
			t.Errorf("pool %+v has a block %s", p, block)
		}
		if ok && !p.CIDROf(block.Addr()).Overlaps(block) {
			t.Errorf("the block %s lies outside of the pool %+v", block, p)
		}
		p.PickStateful(f, allocator.Identity{}, func(netip.Addr) bool { return false })
		if s := allocator.NewSpace(&p, f); ok && s.Add(block, false) == 0 {
			t.Errorf("pool %+v: its block %s has no address", p, block)
		}
		p.UsableCount(f)
		p.StatelessCount(f)
	}
}
