package client

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/berth-ipam/berth/internal/wire"
)

const ownNetns = "/proc/self/ns/net"

func given(prefix string) wire.Result {
	return wire.Result{Class: "stateless", Pool: "default", Addresses: []wire.Address{{Address: netip.MustParsePrefix(prefix)}}}
}

func TestWhatAContainerLeavesOutHasADefault(t *testing.T) {
	for what, c := range map[string]struct {
		is   Container
		want wire.Container
	}{
		"an ID alone": {Container{ID: "a"},
			wire.Container{Network: "berth", ID: "a", Interface: "eth0", Role: wire.Interface, Bridge: DefaultBridge, Class: "stateless",
				Pool: "default"}},
		"a member": {Container{ID: "a", Class: "stateful", App: "db", Member: "db-0", PID: 7},
			wire.Container{Network: "berth", ID: "a", Interface: "eth0", Role: wire.Interface, Bridge: DefaultBridge, Netns: "/proc/7/ns/net",
				Pool: "default", Class: "stateful", Namespace: "default", App: "db", Member: "db-0"}},
		"the address alone": {Container{ID: "a", Role: IPAM, Bridge: "br7", Uplink: "eth1", Network: "lab",
			Addresses: []netip.Addr{netip.MustParseAddr("10.42.0.7")}},
			wire.Container{Network: "lab", ID: "a", Interface: "eth0", Role: wire.IPAM, Class: "stateless", Pool: "default",
				Addresses: []string{"10.42.0.7"}}},
	} {
		if got := c.is.wire(); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %+v, want %+v", what, got, c.want)
		}
	}
}

func TestASetIsInsertedInOneRequestWithItsNamespaces(t *testing.T) {
	requests := make(chan *wire.Request, 1)
	c := agent(t, func(r *wire.Request, files []*os.File) *wire.Response {
		requests <- r
		for _, f := range files {
			if err := wire.IsNetns(f); err != nil {
				t.Error(err)
			}
		}
		if len(files) != 2 {
			t.Errorf("%d files came", len(files))
		}
		return &wire.Response{Results: []wire.Result{given("10.42.0.7/16"), given("10.42.0.8/16"), given("10.42.0.9/16")}}
	})
	results, err := c.Insert(t.Context(), []Container{{ID: "a", Netns: ownNetns}, {ID: "b", Role: IPAM}, {ID: "c", PID: os.Getpid()}},
		InsertOptions{Each: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(results) != 3 || results[2].Addresses[0].Address.String() != "10.42.0.9/16" {
		t.Errorf("results are %+v", results)
	}
	if asked := <-requests; asked.Operation != wire.Insert || !asked.Each || asked.Started == 0 || asked.Containers[0].NetnsFile != 1 ||
		asked.Containers[1].NetnsFile != 0 || asked.Containers[2].NetnsFile != 2 {
		t.Errorf("asked %+v", asked)
	}
}

func TestWhatIsNoNamespaceIsRefusedBeforeTheAgentIsAsked(t *testing.T) {
	c := New(filepath.Join(t.TempDir(), "nobody.sock"))
	for what, bad := range map[string]Container{
		"a file":     {ID: "a", Netns: "/proc/self/status"},
		"a mount ns": {ID: "a", Netns: "/proc/self/ns/mnt"},
		"nothing":    {ID: "a", Netns: "/none"},
		"two":        {ID: "a", Netns: ownNetns, PID: 1},
	} {
		_, err := c.Insert(t.Context(), []Container{{ID: "fine", Netns: ownNetns}, bad}, InsertOptions{})
		if code(err) != CodeNetns || !strings.Contains(err.Error(), `"a"`) {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func code(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return 0
}

func TestADeletionSaysWhatIsGivenBack(t *testing.T) {
	c := agent(t, func(r *wire.Request, _ []*os.File) *wire.Response {
		if r.Operation != wire.Delete || !r.DryRun || !r.Release || r.Each || len(r.Containers) != 2 || r.Containers[0].Interface != "eth0" {
			t.Errorf("asked %+v", r)
		}
		return &wire.Response{Results: []wire.Result{given("10.42.0.7/16"), {}}}
	})
	results, err := c.Delete(t.Context(), []Container{{ID: "a"}, {ID: "b"}}, DeleteOptions{DryRun: true, Release: true})
	if err != nil || len(results) != 2 || results[0].Class == "" || results[1].Class != "" {
		t.Errorf("%+v, %v", results, err)
	}
}

func TestTheAgentsRefusalHasItsCode(t *testing.T) {
	c := agent(t, func(*wire.Request, []*os.File) *wire.Response {
		return &wire.Response{Error: wire.Errorf(wire.CodeOperation, "operation insert is switched off")}
	})
	_, err := c.Insert(t.Context(), []Container{{ID: "a", Role: IPAM}}, InsertOptions{})
	if code(err) != CodeOperation || !strings.Contains(err.Error(), "switched off") {
		t.Errorf("error %v", err)
	}
}

func TestAnAnswerToAnotherQuestionIsAFault(t *testing.T) {
	c := agent(t, func(*wire.Request, []*os.File) *wire.Response { return &wire.Response{} })
	if _, err := c.Delete(t.Context(), []Container{{ID: "a"}}, DeleteOptions{}); code(err) != CodeInternal {
		t.Errorf("delete: error %v", err)
	}
	if _, err := c.Version(t.Context(), Select{}); err == nil || !strings.Contains(err.Error(), "upgrade") {
		t.Errorf("version: error %v", err)
	}
}

func TestWaitEndsWhenTheSetIsComplete(t *testing.T) {
	var asked atomic.Int64
	heard := 0
	c := agent(t, func(r *wire.Request, _ []*os.File) *wire.Response {
		if r.Operation != wire.Read || r.Select == nil || r.Select.App != "shop/web" {
			t.Errorf("asked %+v", r)
		}
		n := int(asked.Add(1))
		if n == 2 {
			return &wire.Response{Error: wire.Errorf(wire.CodeTryAgain, "etcd is away")}
		}
		return &wire.Response{Set: &wire.SetVersion{Revision: 7, UpToDate: n, Total: 4, Complete: n == 4}}
	})
	v, err := c.Wait(t.Context(), Select{App: "shop/web"}, func(*SetVersion) { heard++ })
	if err != nil || !v.Complete || v.UpToDate != 4 || heard != 3 || asked.Load() != 4 {
		t.Errorf("%+v, %v after %d questions and %d answers", v, err, asked.Load(), heard)
	}
}

func TestWaitTellsTheLastStateWhenItsTimeIsOver(t *testing.T) {
	c := agent(t, func(*wire.Request, []*os.File) *wire.Response {
		return &wire.Response{Set: &wire.SetVersion{Revision: 7, UpToDate: 1, Total: 2}}
	})
	ctx, cancel := context.WithCancel(t.Context())
	v, err := c.Wait(ctx, Select{}, func(*SetVersion) { cancel() })
	if !errors.Is(err, context.Canceled) || v == nil || v.UpToDate != 1 {
		t.Errorf("%+v, %v", v, err)
	}
}

func TestWaitDoesNotWaitForWhatIsNotThere(t *testing.T) {
	c := agent(t, func(*wire.Request, []*os.File) *wire.Response {
		return &wire.Response{Error: wire.Errorf(wire.CodeUnknown, "no container a")}
	})
	if _, err := c.Wait(t.Context(), Select{Containers: []string{"a"}}, nil); code(err) != CodeUnknown {
		t.Errorf("error %v", err)
	}
}
