package main

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/berth-ipam/berth/client"
	"github.com/berth-ipam/berth/internal/wire"
)

// An agent is one that does no more than the protocol says: it knows the containers here, and the cluster's.
type agent struct {
	*testing.T
	runDir string

	mu      sync.Mutex
	here    map[string]bool // by NETWORK/ID/INTERFACE
	refuse  map[string]bool // by ID
	cluster []wire.ContainerVersion
	asked   []*wire.Request
}

func newAgent(t *testing.T) *agent {
	t.Helper()
	dir, err := os.MkdirTemp("", "run") // the test's own may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	a := &agent{T: t, runDir: dir, here: map[string]bool{}, refuse: map[string]bool{}}
	listener, err := net.Listen("unix", filepath.Join(dir, "berth.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close(); os.RemoveAll(dir) })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			a.serve(conn.(*net.UnixConn))
		}
	}()
	return a
}

func (a *agent) serve(conn *net.UnixConn) {
	defer conn.Close()
	r, files, err := wire.Receive(conn, wire.ReceiveTime, nil)
	if err != nil {
		_ = wire.Reply(conn, &wire.Response{Error: wire.AsError(err)})
		return
	}
	for _, f := range files {
		f.Close()
	}
	_ = wire.Reply(conn, a.answer(r))
}

func (a *agent) answer(r *wire.Request) *wire.Response {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.asked = append(a.asked, r)
	if r.Select != nil {
		return a.version(r.Select)
	}
	response := new(wire.Response)
	for _, c := range r.Containers {
		key := strings.Join([]string{c.Network, c.ID, c.Interface}, "/")
		var result wire.Result
		switch {
		case a.refuse[c.ID] && !r.Each:
			return &wire.Response{Error: wire.Errorf(wire.CodeTryAgain, "container %q: refused", c.ID)}
		case a.refuse[c.ID]:
			result.Error = wire.Errorf(wire.CodeTryAgain, "container %q: refused", c.ID)
		case r.Operation == wire.Insert || a.here[key]:
			result = wire.Result{Class: "stateless", Pool: "default", Addresses: []wire.Address{{Address: netip.MustParsePrefix("10.42.0.7/16")}}}
			a.here[key] = r.Operation == wire.Insert || r.DryRun
		}
		response.Results = append(response.Results, result)
	}
	return response
}

func (a *agent) version(s *wire.Select) *wire.Response {
	set := new(wire.SetVersion)
	for _, c := range a.cluster {
		named := len(s.Containers) == 0
		for _, name := range s.Containers {
			named = named || name == c.ID
		}
		if named && (s.App == "" || s.App == c.Namespace+"/"+c.App) {
			set.Containers = append(set.Containers, c)
		}
	}
	if len(set.Containers) == 0 && len(s.Containers) > 0 {
		return &wire.Response{Error: wire.Errorf(wire.CodeUnknown, "no container %q", s.Containers[0])}
	}
	return &wire.Response{Set: set}
}

func (a *agent) ctl(args ...string) answer {
	a.Helper()
	return execute(a.T, strings.NewReader(""), append([]string{"--run-dir", a.runDir}, args...)...)
}

// set changes what the agent does.
func (a *agent) set(change func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	change()
}

// requests are those of an operation since it was asked last.
func (a *agent) requests(operation string) (found []*wire.Request) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, r := range a.asked {
		if r.Operation == operation {
			found = append(found, r)
		}
	}
	a.asked = nil
	return found
}

func (a *agent) has(keys ...string) {
	a.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	n := 0
	for _, held := range a.here {
		if held {
			n++
		}
	}
	for _, key := range keys {
		if !a.here[key] || n != len(keys) {
			a.Errorf("the agent has %v, want %q", a.here, keys)
		}
	}
	if len(keys) == 0 && n != 0 {
		a.Errorf("the agent has %v, want nothing", a.here)
	}
}

type outcomesForm struct{ Containers []outcome }

func TestOneContainerIsInsertedByFlags(t *testing.T) {
	a := newAgent(t)
	var form outcomesForm
	a.ctl("insert", "db-0", "--pid", fmt.Sprint(os.Getpid()), "--interface", "net1", "--network", "lab", "--class", "stateful",
		"--namespace", "shop",
		"--app", "db", "--member", "db-0", "--pool", "lab", "--address", "10.9.0.7", "--bridge", "br7", "--uplink", "eth1", "--masquerade",
		"--mac", "be:00:00:00:00:01", "-o", "json").exits(exitDone).into(&form)
	r := a.requests(wire.Insert)[0]
	want := "{lab db-0 net1 interface /proc/" + fmt.Sprint(os.Getpid()) +
		"/ns/net 1 stateful shop db db-0 {  } lab [10.9.0.7] be:00:00:00:00:01 br7 eth1 true <nil>}"
	if got := fmt.Sprint(r.Containers[0]); r.Each || got != want {
		t.Errorf("asked %s\nwant  %s", got, want)
	}
	if o := form.Containers; len(o) != 1 || o[0].State != stateInserted || o[0].ID != "db-0" ||
		o[0].Addresses[0].Address.String() != "10.42.0.7/16" {
		t.Errorf("it answers %+v", form)
	}
	a.has("lab/db-0/net1")
	a.ctl("insert", "web", "--netns", "/none").exits(exitError).complains("web", "/none")
}

// members writes a set file of n containers.
func members(t *testing.T, n int) string {
	text := "containers:\n"
	for i := range n {
		text += fmt.Sprintf("- {id: c%d, role: ipam}\n", i)
	}
	return file(t, text)
}

func TestASetIsInsertedAsAWholeOrEachForItself(t *testing.T) {
	a := newAgent(t)
	a.set(func() { a.refuse["c25"] = true })
	set := members(t, 50)
	a.ctl("insert", "-f", set).exits(exitError).complains("c25", "refused")
	if asked := a.requests(wire.Insert); len(asked) != 1 || asked[0].Each || len(asked[0].Containers) != 50 {
		t.Errorf("the whole set was asked for in %d requests", len(asked))
	}
	a.ctl("insert", "-f", set, "--each").exits(exitError).says("c24", stateInserted, "c25", stateFailed, "refused", "c49").complains("1 of 50")
	if asked := a.requests(wire.Insert); len(asked) != 1 || !asked[0].Each {
		t.Errorf("without a terminal the set was asked for in %d requests", len(asked))
	}
	a.ctl("insert", "-f", members(t, client.MaxSet+1), "--each").exits(exitUsage).complains("1001", "1 to 1000")
	if asked := a.requests(wire.Insert); len(asked) != 0 {
		t.Error("a set that is too large was sent")
	}
}

func TestALongSetGoesInStepsWhileThereIsABar(t *testing.T) {
	terminal, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skip(err)
	}
	defer terminal.Close()
	if _, ok := terminalOf(terminal); !ok {
		t.Fatal("a terminal is not taken for one")
	}
	for _, together := range []bool{true, false} {
		var steps []int
		ask := func(_ context.Context, some []client.Container) ([]client.Result, error) {
			steps = append(steps, len(some))
			return make([]client.Result, len(some)), nil
		}
		c := &ctl{diagnostics: terminal}
		results, err := c.inSteps(t.Context(), make([]client.Container, 50), together, "done", ask)
		want := map[bool]string{true: "[50]", false: "[20 20 10]"}[together]
		if err != nil || len(results) != 50 || fmt.Sprint(steps) != want {
			t.Errorf("together %v: %d results in steps %v, %v", together, len(results), steps, err)
		}
	}
}

func TestAFaultInASetIsNamedBeforeAnythingIsDone(t *testing.T) {
	a := newAgent(t)
	bad := file(t, "containers:\n- {id: a, role: ipam}\n- {id: b, netnss: /x}\n")
	a.ctl("insert", "-f", bad).exits(exitError).complains(".yaml:3:", `did you mean "netns"?`)
	a.ctl("delete", "-f", bad).exits(exitError).complains(".yaml:3:")
	for line, want := range map[string]string{
		"insert":                  "a CONTAINER",
		"insert a b":              `"b"`,
		"insert a -f set.yaml":    "both a file",
		"insert -f x --pool lab":  "--pool",
		"insert a --address 10.0": "want an address",
		"delete":                  "a CONTAINER",
		"delete a -f set.yaml":    "both a file",
		"delete --app shop":       "NAMESPACE/APP",
		"delete -f x --app a/b":   "--app",
	} {
		a.ctl(strings.Fields(line)...).exits(exitUsage).complains(want)
	}
	if len(a.requests(wire.Insert))+len(a.requests(wire.Delete)) != 0 {
		t.Error("the agent was asked")
	}
}

// clustered is an agent that has two containers of the app shop/web, and knows of a third on another node.
func clustered(t *testing.T) *agent {
	a := newAgent(t)
	a.set(func() {
		for id, node := range map[string]string{"web-1": "n1", "web-2": "n1", "web-3": "n2"} {
			a.cluster = append(a.cluster, wire.ContainerVersion{Network: "berth", ID: id, Interface: "eth0", Node: node, Namespace: "shop",
				App: "web"})
			a.here["berth/"+id+"/eth0"] = node == "n1"
		}
	})
	return a
}

func TestADeletionTakesWhatIsOnThisNode(t *testing.T) {
	a := clustered(t)
	a.ctl("delete", "--app", "shop/web", "--dry-run").exits(exitDone).says("web-1", "web-2", stateFound, "10.42.0.7")
	a.has("berth/web-1/eth0", "berth/web-2/eth0")
	a.ctl("delete", "web-3").exits(exitError).complains("web-3", "node n2")
	a.ctl("delete", "nobody").exits(exitError).complains("nobody")
	a.requests(wire.Delete)

	gone := a.ctl("delete", "web-1", "--release").exits(exitDone).says("web-1", stateDeleted)
	if strings.Contains(gone.out, "web-2") {
		t.Errorf("more is deleted than was named:\n%s", gone.out)
	}
	asked := a.requests(wire.Delete)
	if last := asked[len(asked)-1]; !last.Release || last.DryRun || !last.Each {
		t.Errorf("asked %+v", last)
	}
	a.has("berth/web-2/eth0")
	rest := a.ctl("delete", "--app", "shop/web").exits(exitDone).says("web-2", stateDeleted)
	if strings.Contains(rest.out, "web-3") {
		t.Errorf("what is on another node is among what was deleted:\n%s", rest.out)
	}
	a.has()
	a.ctl("delete", "--app", "shop/web").exits(exitDone)
}

func TestWhatIsSpelledOutIsDeletedWithoutEtcd(t *testing.T) {
	a := clustered(t)
	a.set(func() { a.cluster = nil })
	a.ctl("delete", "berth/web-1/eth0", "berth/none/eth0").exits(exitDone).says("web-1", stateDeleted, "none", stateAbsent)
	if len(a.requests(wire.Read)) != 0 {
		t.Error("the cluster was asked")
	}
	var form outcomesForm
	a.ctl("delete", "-f", file(t, "containers: [{id: web-2}]"), "-o", "json").exits(exitDone).into(&form)
	if len(form.Containers) != 1 || form.Containers[0].State != stateDeleted || form.Containers[0].Network != "berth" {
		t.Errorf("it answers %+v", form)
	}
	a.set(func() { a.refuse["web-4"] = true })
	a.ctl("delete", "berth/web-4/eth0").exits(exitError).says(stateFailed).complains("1 of 1")
}
