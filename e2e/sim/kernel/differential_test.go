package kernel

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/agent"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/netops"
)

// sandboxed says why there are no namespaces of our own; nil: there are.
var sandboxed error

func TestMain(m *testing.M) {
	sandboxed = sandbox.Enter()
	os.Exit(m.Run())
}

// verdict is an error's kind and sense.
func verdict(err error) string {
	if err == nil {
		return "done "
	}
	if e, ok := errors.AsType[*netops.ForeignError](err); ok {
		return "foreign " + e.Interface
	}
	if e, ok := errors.AsType[*netops.FullError](err); ok {
		return "full " + e.Bridge
	}
	if e, ok := errors.AsType[*netops.RearrangedError](err); ok {
		return e.Error()
	}
	if e, ok := errors.AsType[unix.Errno](err); ok {
		return "fails by " + unix.ErrnoName(e)
	}
	return "fails"
}

// text is what an error says behind the names of the operation.
func text(err error) string {
	if err == nil {
		return "is right"
	}
	parts := strings.SplitN(err.Error(), ": ", 3)
	return parts[len(parts)-1]
}

// stateOf is all that a kernel tells of its host's state.
func (g *planner) stateOf(s side, ids [namespaces]int) (lines []string) {
	k := s.kernel()
	add := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	ports, err := k.Ports()
	add("ports: %s", verdict(err))
	links := map[int]string{}
	for _, p := range ports {
		name, err := k.LinkName(p.Index)
		add("port %s, alias %q, bridge %q, called %q, %s", p.Name, p.Alias, p.Bridge, name, verdict(err))
	}
	held, err := k.HostAddresses()
	add("host: %s", verdict(err))
	for _, a := range held {
		if links[a.Index] == "" {
			links[a.Index], _ = k.LinkName(a.Index)
		}
		add("host: %v on %s", a.Address, links[a.Index])
	}
	slices.Sort(lines)
	members, err := k.Classes()
	add("classes: %v, %s", members, verdict(err))
	fenced, err := k.Fenced()
	add("fenced: %v, %s", fenced, verdict(err))
	passing, err := k.Passing()
	for class, left := range passing {
		passing[class] = left.Round(10 * time.Hour)
	}
	add("passing: %v, %s", passing, verdict(err))
	for _, name := range g.names {
		add("%s: there %v", name, k.HasPort(name))
		add("%s: %s", name, text(k.Check(g.ports[name].on(s))))
	}
	for n, id := range ids {
		if id < 0 {
			continue
		}
		alive, err := k.NamespaceAlive(id)
		add("namespace %d: alive %v, %s", n, alive, verdict(err))
		for _, a := range []string{fmt.Sprint("10.42.4.", n+2), fmt.Sprint("fd42::", n+2), "::1", "10.42.77.1"} {
			has, err := k.NamespaceHas(id, netip.MustParseAddr(a))
			add("namespace %d: has %s %v, %s", n, a, has, verdict(err))
		}
	}
	return append(lines, s.news()...)
}

// differ does the same to both sides, and says how they differ; empty: they do not.
func differ(sides [2]side, seed uint64, count int) (found string) {
	g := &planner{Rand: rand.New(rand.NewPCG(seed, 0)), ports: map[string]*attachedTo{}}
	var ids [2][namespaces]int
	for i, s := range sides {
		if err := s.reopen(); err != nil {
			return fmt.Sprintf("%T: %v", s, err)
		}
		for n := range namespaces {
			ids[i][n] = -1
		}
	}
	var done []string
	for i := range count {
		op := g.next()
		done = append(done[max(0, len(done)-16):], op.what)
		var got [2]string
		for j, s := range sides {
			got[j] = op.run(s)
		}
		time.Sleep(op.wait)
		if n, err := strconv.Atoi(strings.TrimPrefix(op.what, "watch namespace ")); err == nil {
			for j, s := range sides {
				ids[j][n], _ = s.kernel().WatchNamespace(s.netns(n))
			}
		}
		difference := g.compare(sides, ids)
		for deadline := time.Now().Add(10 * time.Second); (op.later && difference != "" || strings.Contains(difference, "news of")) &&
			time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
			difference = g.compare(sides, ids)
		}
		if got[0] != got[1] {
			difference = fmt.Sprintf("  answers %q, and the model %q\n%s", got[0], got[1], difference)
		}
		if difference != "" {
			return fmt.Sprintf("operation %d of seed %d:\n%s\nafter\n  %s", i, seed, difference, strings.Join(done, "\n  "))
		}
	}
	return ""
}

// compare tells what differs between the states.
func (g *planner) compare(sides [2]side, ids [2][namespaces]int) string {
	real, model := g.stateOf(sides[0], ids[0]), g.stateOf(sides[1], ids[1])
	var different []string
	for _, line := range real {
		if !slices.Contains(model, line) {
			different = append(different, "  it is:       "+line)
		}
	}
	for _, line := range model {
		if !slices.Contains(real, line) {
			different = append(different, "  model says:  "+line)
		}
	}
	return strings.Join(different, "\n")
}

// bothSides are a fresh real host and one of the model.
func bothSides(t *testing.T, wrap func(agent.Kernel) agent.Kernel) [2]side {
	t.Helper()
	if sandboxed != nil {
		t.Skip(sandboxed)
	}
	r, err := newReal(fmt.Sprintf("/run/netns/differ-%d", time.Now().UnixNano()))
	must(t, err)
	t.Cleanup(r.close)
	m := &modelled{h: NewLAN(t.TempDir()).Host("n1"), ns: map[int]*Namespace{}, f: map[int]*os.File{}, wrap: wrap}
	t.Cleanup(func() { m.k.Close() })
	return [2]side{r, m}
}

// setting is a number from the environment.
func setting(t *testing.T, name string, ordinary uint64) uint64 {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return ordinary
	}
	n, err := strconv.ParseUint(text, 10, 64)
	must(t, err)
	return n
}

// perHost is how many operations a host lives for.
const perHost = 200

// BERTH_KERNEL_OPERATIONS=100000 does more, and BERTH_KERNEL_SEED replays.
func TestTheModelDoesWhatTheKernelDoes(t *testing.T) {
	seed := setting(t, "BERTH_KERNEL_SEED", uint64(time.Now().UnixNano()))
	count := int(setting(t, "BERTH_KERNEL_OPERATIONS", 400))
	t.Logf("BERTH_KERNEL_SEED=%d", seed)
	for done := 0; done < count; done += perHost {
		sides := bothSides(t, nil)
		if found := differ(sides, seed+uint64(done/perHost), perHost); found != "" {
			t.Error(found)
		}
	}
}

// Kernels with one difference each.
type (
	leaveless struct { // forgets every other Leave
		agent.Kernel
		n *int
	}
	hasty     struct{ agent.Kernel } // opens for a proof without an answer
	foreigner struct{ agent.Kernel } // says of another's interface that something failed
)

func (k leaveless) Leave(port string) error {
	if *k.n++; *k.n%2 == 0 {
		return nil
	}
	return k.Kernel.Leave(port)
}

func (k hasty) Arm(whole map[string]time.Duration) error {
	if err := k.Kernel.Arm(whole); err != nil || k.Open() != nil { // it fails where there is nothing to open
		return err
	}
	return k.Kernel.Arm(whole) // so that the opening after the answer goes as usual
}

func (k foreigner) Attach(p netops.Port) (netops.Attached, error) {
	made, err := k.Kernel.Attach(p)
	if _, foreign := errors.AsType[*netops.ForeignError](err); foreign {
		err = errors.New("it failed")
	}
	return made, err
}

func TestADifferenceIsFound(t *testing.T) {
	n := 0
	for name, c := range map[string]struct {
		wrap func(agent.Kernel) agent.Kernel
		says string
	}{
		"a Leave forgotten":                {func(k agent.Kernel) agent.Kernel { return leaveless{k, &n} }, "classes: "},
		"a class opened before the answer": {func(k agent.Kernel) agent.Kernel { return hasty{k} }, "passing: "},
		"an error of another kind":         {func(k agent.Kernel) agent.Kernel { return foreigner{k} }, "foreign"},
	} {
		t.Run(name, func(t *testing.T) {
			if found := differ(bothSides(t, c.wrap), 2, 5000); !strings.Contains(found, c.says) {
				t.Errorf("found %q: want one that says %q", found, c.says)
			}
		})
	}
}
