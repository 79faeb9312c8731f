package agent

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
)

// selected is the set that the socket answers for a selection.
func (r *rig) selected(s wire.Select) (*wire.SetVersion, error) {
	r.t.Helper()
	response, err := r.send(&wire.Request{Operation: wire.Read, Select: &s})
	if err != nil {
		return nil, err
	}
	return response.Set, nil
}

func containersOf(v *wire.SetVersion) string {
	var all []string
	for _, c := range v.Containers {
		all = append(all, c.ID)
	}
	slices.Sort(all)
	return strings.Join(all, " ")
}

func TestTheSocketAndHTTPAnswerOfTheSameSet(t *testing.T) {
	r := newRig(t)
	r.apply(allocator.Pool{Name: "lab", CIDRs: prefixes("10.43.0.0/16")})
	other := r.stateless("c", "web")
	other.Pool = "lab"
	for _, c := range []wire.Container{r.stateless("a", "web"), r.stateless("b", "shop"), other} {
		r.add(c)
	}
	r.until("all are published", func() bool {
		v, err := r.selected(wire.Select{Node: "n1"})
		return err == nil && v.Complete && v.Total == 3
	})
	for query, c := range map[string]struct {
		socket wire.Select
		want   string
	}{
		"container=a":                        {wire.Select{Containers: []string{"a"}}, "a"},
		"app=ns/web&pool=lab&node=n1":        {wire.Select{App: "ns/web", Pool: "lab", Node: "n1"}, "c"},
		"pool=default&container=b&live=true": {wire.Select{Pool: "default", Containers: []string{"b"}, Live: true}, "b"},
	} {
		status, body := r.reach(http.DefaultClient, "/v1/version?"+query)
		over := new(wire.SetVersion)
		if err := json.Unmarshal([]byte(body), over); err != nil || status != 200 || containersOf(over) != c.want || !over.Complete {
			t.Errorf("%s: HTTP answers %d %s, want %s", query, status, body, c.want)
		}
		if v, err := r.selected(c.socket); err != nil || containersOf(v) != c.want || !v.Complete {
			t.Errorf("%s: the socket answers %+v, %v, want %s", query, v, err, c.want)
		}
	}
	head, err := http.Head("http://" + r.webAddress() + "/v1/version?container=a")
	check(t, err)
	head.Body.Close()
	if head.StatusCode != http.StatusOK {
		t.Errorf("HEAD is answered with %s", head.Status)
	}
	for want, s := range map[string]wire.Select{`"nobody"`: {Containers: []string{"nobody"}}, `"ns/shop"`: {App: "ns/shop", Pool: "lab"}} {
		if v, err := r.selected(s); err == nil || wire.AsError(err).Code != wire.CodeUnknown || !strings.Contains(err.Error(), want) {
			t.Errorf("of %+v the socket answers %+v, %v: want that %s is unknown", s, v, err, want)
		}
	}
	if v, err := r.selected(wire.Select{App: "a/b/c"}); err == nil || wire.AsError(err).Code != wire.CodeOperation {
		t.Errorf("of a malformed app the socket answers %+v, %v", v, err)
	}
}

func TestWhatOnlyNewContainersGetIsNotCountedOverTheSocketWhereItIsNotToBe(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", "web"))
	pool := r.pool()
	pool.DNS.Domain = "example"
	r.apply(pool)
	r.until("it is the node's revision, and the container must be made anew for it", func() bool {
		v, err := r.selected(wire.Select{Containers: []string{"a"}})
		return err == nil && !v.Complete && v.Containers[0].Remake
	})
	if v, err := r.selected(wire.Select{Containers: []string{"a"}, Live: true}); err != nil || !v.Complete || !v.Containers[0].Remake {
		t.Errorf("of live changes the socket answers %+v, %v", v, err)
	}
}

func TestOverTheSocketNoSetIsToldWhileReadingIsSwitchedOff(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", "web"))
	r.change(func(c *config.Config) { c.Settings.Operations = []string{"insert", "delete"} })
	r.until("reading is refused, as what is switched off", func() bool {
		_, err := r.selected(wire.Select{})
		return err != nil && wire.AsError(err).Code == wire.CodeOperation && strings.Contains(err.Error(), "switched off")
	})
	if _, err := r.send(&wire.Request{Operation: "paint", Select: &wire.Select{}}); err == nil ||
		wire.AsError(err).Code != wire.CodeOperation || !strings.Contains(err.Error(), "unknown") {
		t.Errorf("an operation that there is not: %v", err)
	}
}
