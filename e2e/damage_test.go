package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

// How many damages there are, how many stand at once, and what chooses them. BERTH_DAMAGES=300 is the long run.
var (
	damages     = number("BERTH_DAMAGES", 8)
	atOnce      = number("BERTH_DAMAGES_AT_ONCE", 8)
	damagesSeed = number("BERTH_DAMAGES_SEED", 1)
)

func number(variable string, otherwise int) int {
	if n, err := strconv.Atoi(os.Getenv(variable)); err == nil {
		return n
	}
	return otherwise
}

// A hit is one damage: a key of etcd's, and what somebody has made of it.
type hit struct {
	key    string
	kind   string // of the key
	before string // empty: it was not there
	after  string // empty: it was deleted
	how    string
}

func (h hit) String() string { return fmt.Sprintf("%s of %s: %q", h.how, h.key, short(h.after)) }

func short(text string) string { return text[:min(len(text), 80)] }

const berthKeys = "/berth/v1/"

// A wrecker damages the records of a lab, and knows what has become of each.
type wrecker struct {
	*testing.T
	lab    *lab.Lab
	etcd   *clientv3.Client
	random *rand.Rand
	added  int
}

// keys are all of Berth's, by kind.
func (w *wrecker) keys() map[string]map[string]string {
	w.Helper()
	got, err := w.etcd.Get(w.Context(), berthKeys, clientv3.WithPrefix())
	if err != nil {
		w.Fatal(err)
	}
	all := map[string]map[string]string{}
	for _, kv := range got.Kvs {
		kind := kindOf(string(kv.Key))
		if all[kind] == nil {
			all[kind] = map[string]string{}
		}
		all[kind][string(kv.Key)] = string(kv.Value)
	}
	return all
}

func kindOf(key string) string {
	parts := strings.Split(strings.TrimPrefix(key, berthKeys), "/")
	if parts[0] == "config" && len(parts) > 1 {
		return "config/" + parts[1]
	}
	return parts[0]
}

var digits = regexp.MustCompile(`:-?[0-9]+`)

// ways are what somebody makes of a value. A lie, which is as a record of its kind is and says something else, is not among
// them: nothing tells it from the truth.
var ways = map[string]func(w *wrecker, value string) string{
	"cut":             func(w *wrecker, v string) string { return v[:w.random.IntN(max(len(v), 1))] },
	"empty":           func(*wrecker, string) string { return " " },
	"null":            func(*wrecker, string) string { return "null" },
	"list":            func(*wrecker, string) string { return "[1,2,3]" },
	"empty object":    func(*wrecker, string) string { return "{}" },
	"noise":           func(w *wrecker, _ string) string { return string([]byte{0xff, 0, byte(w.random.IntN(256)), '{'}) },
	"huge":            func(*wrecker, string) string { return `{"x":"` + strings.Repeat("y", 1<<20) + `"}` },
	"numbers as text": func(_ *wrecker, v string) string { return digits.ReplaceAllString(v, `:"many"`) },
	"numbers below":   func(_ *wrecker, v string) string { return digits.ReplaceAllString(v, `:-7`) },
	"numbers above":   func(_ *wrecker, v string) string { return digits.ReplaceAllString(v, `:9223372036854775807`) },
	"block size":      func(_ *wrecker, v string) string { return strings.Replace(v, `"v4":26`, `"v4":33`, 1) },
	"prefixes":        func(_ *wrecker, v string) string { return strings.ReplaceAll(v, `/26"`, `/3"`) },
	"texts as number": func(_ *wrecker, v string) string { return strings.Replace(v, `:"`, `:5,"_":"`, 1) },
}

// hit damages one key that is none of those which are damaged already; nil: it found nothing to do.
func (w *wrecker) hit(standing []hit) *hit {
	w.Helper()
	if w.random.IntN(6) == 0 {
		return w.add()
	}
	all := w.keys()
	kinds := slices.Sorted(maps.Keys(all))
	kind := kinds[w.random.IntN(len(kinds))]
	keys := slices.Sorted(maps.Keys(all[kind]))
	key := keys[w.random.IntN(len(keys))]
	if kind == "questions" || slices.ContainsFunc(standing, func(h hit) bool { return h.key == key }) {
		return nil
	}
	h := &hit{key: key, kind: kind, before: all[kind][key]}
	if w.random.IntN(5) == 0 {
		h.how = "deletion"
		_, err := w.etcd.Delete(w.Context(), key)
		w.check(err)
		return h
	}
	names := slices.Sorted(maps.Keys(ways))
	h.how = names[w.random.IntN(len(names))]
	if h.after = ways[h.how](w, h.before); h.after == h.before {
		return nil
	}
	if h.after == "" {
		h.after = " "
	}
	_, err := w.etcd.Put(w.Context(), key, h.after)
	w.check(err)
	return h
}

// add makes a key that was not there.
func (w *wrecker) add() *hit {
	w.Helper()
	w.added++
	n := w.added
	keys := []string{
		"nonsense/%d", "config/strange%d", "config/pools/stray%d/x", "config/pools/stray%d", "config/history/9%03d", "nodes/ghost%d",
		"sessions/ghost%d",
		"status/ghost%d", "blocks/default/10.42.200.%d", "blocks/nowhere/10.42.0.%d", "assignments/default/10.42.201.%d",
		"reservations/default/10.42.3.%d",
		"identities/berth/shop/db/ghost%d/eth0", "demands/default/ghost%d", "reservations/default/not-an-address%d", "nodes/a b%d",
	}
	values := []string{"{", "null", "{}", `{"name":"zz"}`,
		`{"cidrs":["10.42.0.0/17"],"name":"stray%d","blockSize":{"v4":26,"v6":122},"reuse":"1m","cooldown":"1s"}`}
	h := &hit{how: "addition"}
	h.key = berthKeys + fmt.Sprintf(keys[w.random.IntN(len(keys))], n%250)
	h.kind = kindOf(h.key)
	h.after = strings.ReplaceAll(values[w.random.IntN(len(values))], "%d", strconv.Itoa(n%250))
	if got, err := w.etcd.Get(w.Context(), h.key); err != nil || len(got.Kvs) > 0 {
		return nil
	}
	_, err := w.etcd.Put(w.Context(), h.key, h.after)
	w.check(err)
	return h
}

func (w *wrecker) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// stands reports whether a damage is as it was made: no agent has mended it by itself.
func (w *wrecker) stands(h hit) bool {
	w.Helper()
	got, err := w.etcd.Get(w.Context(), h.key)
	w.check(err)
	if len(got.Kvs) == 0 {
		return h.after == "" && h.before != ""
	}
	return string(got.Kvs[0].Value) == h.after
}

// unnamed are the kinds of which a record that is gone is nobody's loss, or comes back with whoever needs it.
var unnamed = []string{"config/history", "demands", "sessions", "status", "nodes", "cluster"}

// named reports why a damage that stands is not told of, by some node's /readyz and by the doctor; nil: it is told.
func (w *wrecker) named(h hit, d diagnosis) error {
	w.Helper()
	if !w.stands(h) || h.kind == "sessions" || h.after == "" && slices.Contains(unnamed, h.kind) {
		return nil
	}
	if !slices.ContainsFunc(d.Findings, func(f finding) bool { return f.Key == h.key || strings.Contains(f.Cause, h.key) }) &&
		!w.isHarmless(h, d) {
		return fmt.Errorf("the doctor does not name %s: %s", h, d)
	}
	if h.after == "" || !slices.ContainsFunc(d.Findings, func(f finding) bool { return f.Key == h.key && f.Kind == "record-unreadable" }) {
		return nil // what is missing, or can be read, is for the doctor alone
	}
	for _, n := range w.lab.Nodes {
		if _, body, err := n.HTTP(w.Context(), "/readyz"); err == nil && strings.Contains(body, h.key) {
			return nil
		}
	}
	return fmt.Errorf("no node's /readyz names %s", h)
}

// isHarmless reports whether what was written can be read as a record that says nothing wrong, such as an empty status of
// no node, or that another finding tells of it.
func (w *wrecker) isHarmless(h hit, d diagnosis) bool {
	last := h.key[strings.LastIndex(h.key, "/")+1:]
	return json.Valid([]byte(h.after)) && (h.after != "null" && h.after != "[1,2,3]" && len(h.after) < 1<<20) ||
		slices.ContainsFunc(d.Findings, func(f finding) bool { return strings.Contains(f.Cause+f.Node+f.Key, last) })
}

var commands = regexp.MustCompile(`etcdctl (put|del) '([^']*)'(?: '([^']*)')?|berthctl (release|delete|node remove) [^,;()]*`)

// obey carries out what is advised, where a machine can.
func (w *wrecker) obey(d diagnosis) {
	w.Helper()
	for _, f := range d.Findings {
		for _, m := range commands.FindAllStringSubmatch(f.Mend, -1) {
			switch {
			case f.Note, strings.Contains(f.Mend, "gone for good"): // it is not
			case m[1] == "put":
				_, err := w.etcd.Put(w.Context(), m[2], m[3])
				w.check(err)
			case m[1] == "del":
				_, err := w.etcd.Delete(w.Context(), m[2])
				w.check(err)
			default:
				w.Logf("advised for %s: %s", f.Kind, m[0])
				node := w.lab.Nodes[0]
				for _, n := range w.lab.Nodes {
					if n.Name == f.Node {
						node = n
					}
				}
				_, _ = node.Berthctl(w.Context(), strings.Fields(strings.TrimPrefix(m[0], "berthctl "))...)
			}
		}
	}
}

// A survivor is a container that lives all the time and loses nothing.
type survivor struct {
	*lab.Container
	address netip.Addr
}

func TestADamagedRecordCostsOnlyItselfAndNoAdviceHurtsALiveContainer(t *testing.T) {
	l := newLab(t, 3, onePool)
	w := &wrecker{T: t, lab: l, etcd: newVandal(t, l).etcd, random: rand.New(rand.NewPCG(uint64(damagesSeed), 4))}
	var survivors []survivor
	for i, n := range l.Nodes {
		for j := range 2 {
			c, m := container(t, n, l, "BERTH_NAMESPACE", "shop", "BERTH_APP", "web"), member(t, n, l, fmt.Sprintf("keeps-%d-%d", i, j))
			survivors = append(survivors, survivor{c, add(t, c)}, survivor{m, add(t, m)})
		}
	}
	labtest.Eventually(t, "all is published", func() error { return healthy(t, l) })
	pids := map[string]int{}
	for _, n := range l.Nodes {
		pids[n.Name] = n.PID()
	}
	load := beginLoad(t, l)
	done, rounds := 0, 0
	tally := map[string]int{}
	for done < damages {
		rounds++
		var standing []hit
		for tries := 0; len(standing) < min(atOnce, damages-done) && tries < 200; tries++ {
			if h := w.hit(standing); h != nil {
				standing = append(standing, *h)
				tally[h.kind+" "+h.how]++
				t.Logf("round %d: %s", rounds, h)
			}
		}
		done += len(standing)
		w.judge(standing, rounds)
		for _, n := range l.Nodes {
			if !n.Running() || n.PID() != pids[n.Name] {
				t.Fatalf("the agent of %s has ended: %s", n.Name, n.Log(30))
			}
		}
		lookAfter(t, survivors)
		if t.Failed() {
			break
		}
	}
	load.end()
	t.Logf("%d damages in %d rounds: %v; %d ADDs under load, %d of them had to be repeated", done, rounds, tally, load.adds, load.repeats)
	for _, c := range survivors {
		if err := c.Check(t.Context()); err != nil {
			t.Errorf("CHECK of %s on %s: %v", c.ID, c.Node.Name, err)
		}
	}
}

// judge looks whether what stands is told of, has the advice carried out, and waits until all agree again.
func (w *wrecker) judge(standing []hit, round int) {
	w.Helper()
	var d diagnosis
	labtest.Eventually(w.T, "each damage is named", func() error {
		d, _ = doctor(w.T, w.lab)
		var errs []error
		for _, h := range standing {
			errs = append(errs, w.named(h, d))
		}
		return errors.Join(errs...)
	})
	if round%2 == 1 {
		doctor(w.T, w.lab, "--fix")
	}
	w.obey(d)
	began := time.Now()
	for {
		d, _ := doctor(w.T, w.lab)
		left := slices.DeleteFunc(d.Findings, func(f finding) bool { return f.Note })
		if len(left) == 0 {
			return
		}
		if time.Since(began) > time.Minute {
			w.Errorf("a minute after the repair of round %d: %s", round, d)
			return
		}
		doctor(w.T, w.lab, "--fix")
		w.obey(d)
	}
}

func lookAfter(t *testing.T, all []survivor) {
	t.Helper()
	for i, c := range all {
		other := all[(i+5)%len(all)]
		if c.Address != c.address {
			t.Errorf("%s had %s and has %s", c.ID, c.address, c.Address)
		}
		reaches(t, other.Container, c.address)
		reaches(t, c.Container, other.address)
	}
}

// A loading is what comes and goes beside the damages: containers of a stateless app and members of a stateful one on each
// node.
type loading struct {
	t             *testing.T
	stop          context.CancelFunc
	work          sync.WaitGroup
	holders       holders
	mu            sync.Mutex
	adds, repeats int
}

func beginLoad(t *testing.T, l *lab.Lab) *loading {
	ctx, stop := context.WithCancel(context.Background())
	load := &loading{t: t, stop: stop, holders: holders{by: map[netip.Addr]string{}}}
	t.Cleanup(load.end)
	for i, n := range l.Nodes {
		for j := range 2 {
			load.work.Go(func() { load.comeAndGo(ctx, l, n, fmt.Sprintf("load-%d-%d", i, j), j == 1) })
		}
	}
	return load
}

func (o *loading) end() {
	o.stop()
	o.work.Wait()
	o.holders.Lock()
	defer o.holders.Unlock()
	for _, err := range o.holders.errs {
		o.t.Error(err)
	}
	o.holders.errs = nil
}

func (o *loading) comeAndGo(ctx context.Context, l *lab.Lab, n *lab.Node, name string, stateful bool) {
	args := []string{"BERTH_NAMESPACE", "shop", "BERTH_APP", "load"}
	if stateful {
		args = append(args, "BERTH_CLASS", "stateful", "BERTH_MEMBER", name)
	}
	for ctx.Err() == nil {
		c, err := n.Container(l.NextID(), lab.Berth(), args...)
		if err != nil {
			o.t.Error(err)
			return
		}
		o.live(ctx, c, name)
		_ = c.Remove()
	}
}

// live lets one container come and go. What fails is repeated, as a runtime would; it may fail for long only where the error
// names a record that cannot be read.
func (o *loading) live(ctx context.Context, c *lab.Container, name string) {
	for began := time.Now(); ; {
		_, err := c.Add(context.WithoutCancel(ctx))
		o.mu.Lock()
		o.adds++
		if err != nil {
			o.repeats++
		}
		o.mu.Unlock()
		if err == nil {
			break
		}
		if time.Since(began) > 30*time.Second && !strings.Contains(err.Error(), "cannot be read") {
			o.t.Errorf("ADD of %s on %s fails for half a minute: %v", name, c.Node.Name, err)
		}
		if ctx.Err() != nil || o.t.Failed() {
			return
		}
		time.Sleep(200 * time.Millisecond)
	}
	o.holders.take(c)
	select {
	case <-ctx.Done():
	case <-time.After(time.Second):
	}
	o.holders.leave(c)
	for began := time.Now(); ; time.Sleep(200 * time.Millisecond) {
		err := c.Del(context.WithoutCancel(ctx))
		if err == nil {
			return
		}
		if time.Since(began) > 30*time.Second {
			o.t.Errorf("DEL of %s on %s fails for half a minute: %v", name, c.Node.Name, err)
			return
		}
	}
}
