package agent

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/internal/wire"
)

// space makes a container's network namespace.
func (r *rig) space() string {
	r.t.Helper()
	r.spaces++
	path := filepath.Join(r.dir, "ns", fmt.Sprint(r.spaces))
	check(r.t, sandbox.Namespace(path))
	r.t.Cleanup(func() { sandbox.Remove(path) })
	return path
}

// stateless is a container of an app in the interface role.
func (r *rig) stateless(id, app string) wire.Container {
	c := wire.Container{Network: "net", ID: id, Interface: "eth0", Role: wire.Interface, Netns: r.space()}
	if app != "" {
		c.Namespace, c.App = "ns", app
	}
	return c
}

func (r *rig) stateful(id, app, member string) wire.Container {
	c := r.stateless(id, app)
	c.Class, c.Member = string(allocator.Stateful), member
	return c
}

// ask sends one request as a plugin does.
func (r *rig) ask(operation string, set ...wire.Container) (*wire.Response, error) {
	r.t.Helper()
	return r.send(&wire.Request{Operation: operation, Verb: operation, Started: int64(r.agent.Clock.Boot()), Containers: set})
}

func (r *rig) send(q *wire.Request) (*wire.Response, error) {
	r.t.Helper()
	var files []*os.File
	for i := range q.Containers {
		c := &q.Containers[i]
		if c.Netns == "" {
			continue
		}
		if f, err := os.Open(c.Netns); err == nil {
			defer f.Close()
			files = append(files, f)
			c.NetnsFile = len(files)
		}
	}
	response, err := wire.Call(r.t.Context(), cmp.Or(r.socket, r.agent.socket.Path), 5*time.Second, q, files)
	check(r.t, err)
	if response.Error != nil {
		return response, response.Error
	}
	return response, nil
}

// add is an ADD that must succeed; it returns the IPv4 address.
func (r *rig) add(c wire.Container) netip.Addr {
	r.t.Helper()
	response, err := r.ask(wire.Insert, c)
	check(r.t, err)
	return response.Results[0].Addresses[0].Address.Addr()
}

func (r *rig) del(c wire.Container) {
	r.t.Helper()
	_, err := r.ask(wire.Delete, c)
	check(r.t, err)
}

// refused is an insert that must fail with a code and leave links, journal, allocator and reservations as they were.
func (r *rig) refused(code int, set ...wire.Container) *wire.Error {
	r.t.Helper()
	before := r.count()
	_, err := r.ask(wire.Insert, set...)
	if err == nil {
		r.t.Fatalf("it was done; want code %d", code)
	}
	refusal := wire.AsError(err)
	if refusal.Code != code {
		r.t.Errorf("code %d (%s), want %d", refusal.Code, refusal, code)
	}
	r.until(fmt.Sprintf("all is as it was before %q", refusal), func() bool { return r.count() == before }) // etcd learns of it in a moment
	return refusal
}

func get(t testing.TB, url string) (int, string) {
	t.Helper()
	response, err := http.Get(url)
	check(t, err)
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	check(t, err)
	return response.StatusCode, string(body)
}
