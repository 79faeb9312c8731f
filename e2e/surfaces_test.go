package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/client"
	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

// What a question about the version of a set comes to, whichever way it is asked.
const (
	asAnswer  = "an answer"
	asRefusal = "refused: no such parameter or value"
	asUnknown = "refused: there is none"
	asOther   = "something else"
)

// A reply is what one way of asking says: the answer as JSON has it, or the words of the refusal.
type reply struct {
	outcome string
	answer  map[string]any
	words   string
}

func (r *reply) read(t *testing.T, text string) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &r.answer); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
}

// byCLI asks berthctl on a node.
func byCLI(t *testing.T, node *lab.Node, q url.Values) (r reply) {
	t.Helper()
	line := append([]string{"version", "-o", "json"}, q["container"]...)
	for name, values := range q {
		for _, v := range values {
			if name != "container" {
				line = append(line, "--"+name+"="+v)
			}
		}
	}
	out, err := node.Berthctl(t.Context(), line...)
	exit, failed := errors.AsType[*lab.ExitError](err)
	switch {
	case err != nil && !failed:
		t.Fatal(err)
	case !failed, exit.Code == 3: // not complete
		r.outcome = asAnswer
		r.read(t, out)
		return r
	case exit.Code == 2:
		r.outcome = asRefusal
	case exit.Code == 1:
		r.outcome = asUnknown
	default:
		r.outcome = asOther
	}
	r.words, _, _ = strings.Cut(strings.TrimPrefix(exit.Stderr, "berthctl: "), "\n")
	return r
}

// byHTTP asks the agent's web server.
func byHTTP(t *testing.T, node *lab.Node, q url.Values) (r reply) {
	t.Helper()
	status, body, err := node.HTTP(t.Context(), "/v1/version?"+q.Encode())
	if err != nil {
		t.Fatal(err)
	}
	r.read(t, body)
	r.outcome = map[int]string{http.StatusOK: asAnswer, http.StatusBadRequest: asRefusal, http.StatusNotFound: asUnknown}[status]
	if r.outcome != asAnswer {
		r.words = fmt.Sprint(r.answer["message"])
	}
	return r
}

// bySocket asks the agent as a program does, by package client. That says neither what is unknown nor anything twice.
func bySocket(t *testing.T, node *lab.Node, q url.Values) (r reply) {
	t.Helper()
	set := client.Select{
		Containers: q["container"], App: q.Get("app"), Node: q.Get("node"), Pool: q.Get("pool"), Live: q.Get("live") == "true",
	}
	v, err := client.New(node.Socket()).Version(t.Context(), set)
	if err != nil {
		e, _ := errors.AsType[*client.Error](err)
		if e == nil {
			t.Fatal(err)
		}
		r.words = e.Error()
		r.outcome = map[int]string{client.CodeOperation: asRefusal, client.CodeUnknown: asUnknown}[e.Code]
		return r
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	r.outcome = asAnswer
	r.read(t, string(text))
	return r
}

// agree compares what the ways of asking say.
func agree(is, want reply) error {
	bare := strings.NewReplacer("lease: ", "", "client: ", "").Replace
	switch {
	case is.outcome != want.outcome:
		return fmt.Errorf("%s (%s), and berthctl: %s (%s)", is.outcome, is.words, want.outcome, want.words)
	case want.outcome != asAnswer:
		if bare(is.words) != bare(want.words) {
			return fmt.Errorf("it refuses by %q, berthctl by %q", is.words, want.words)
		}
	case !reflect.DeepEqual(is.answer, want.answer):
		return fmt.Errorf("it says %v, berthctl %v", is.answer, want.answer)
	}
	return nil
}

func TestBerthctlTheSocketAndHTTPAnswerTheSameQuestionsAlike(t *testing.T) {
	l := newLab(t, 2, onePool)
	web := container(t, l.Nodes[0], l, "BERTH_NAMESPACE", "shop", "BERTH_APP", "web")
	for _, c := range []*lab.Container{web, container(t, l.Nodes[1], l), member(t, l.Nodes[1], l, "db-0")} {
		add(t, c)
	}
	// Not complete, and for a reason that running containers have.
	if _, err := labtest.Apply(t, l, onePool+"    dns: {nameservers: [10.42.0.1]}\n"); err != nil {
		t.Fatal(err)
	}
	wire := []string{"socket", "HTTP"}
	for _, c := range []struct {
		query, want string
		not         string // the way that cannot ask so
	}{
		{query: "", want: asAnswer},
		{query: "live=true", want: asAnswer},
		{query: "live=false", want: asAnswer},
		{query: "app=shop/web", want: asAnswer},
		{query: "app=shop/db", want: asAnswer},
		{query: "node=n2", want: asAnswer},
		{query: "pool=default", want: asAnswer},
		{query: "node=n2&app=shop/db&pool=default&live=true", want: asAnswer},
		{query: "container=" + web.ID, want: asAnswer},
		{query: "container=" + web.ID + "&container=" + web.ID, want: asAnswer},
		{query: "container=" + web.ID + "&node=n2", want: asUnknown},
		{query: "app=shop/none", want: asUnknown},
		{query: "node=n9", want: asUnknown},
		{query: "pool=none", want: asUnknown},
		{query: "container=nobody", want: asUnknown},
		{query: "container=c", want: asUnknown}, // of several
		{query: "app=shop/web&pool=none", want: asUnknown},
		{query: "app=shop", want: asRefusal},
		{query: "app=a/b/c", want: asRefusal},
		{query: "app=sh%20op/web", want: asRefusal},
		{query: "node=n1/n2", want: asRefusal},
		{query: "pool=a/b", want: asRefusal},
		{query: "container=", want: asRefusal},
		{query: "app=", want: asRefusal, not: "socket"},
		{query: "live=perhaps", want: asRefusal, not: "socket"},
		{query: "live=", want: asRefusal, not: "socket"},
		{query: "app=shop/web&app=shop/db", want: asRefusal, not: "socket"},
		{query: "node=n1&node=n1", want: asRefusal, not: "socket"},
		{query: "live=true&live=true", want: asRefusal, not: "socket"},
	} {
		q, err := url.ParseQuery(c.query)
		if err != nil {
			t.Fatal(err)
		}
		for _, way := range wire {
			if way == c.not {
				continue
			}
			ask := map[string]func(*testing.T, *lab.Node, url.Values) reply{"socket": bySocket, "HTTP": byHTTP}[way]
			// The agent reads etcd once a second at most, so that it may say what was so just before.
			labtest.Eventually(t, fmt.Sprintf("%q by %s is as berthctl has it", c.query, way), func() error {
				want := byCLI(t, l.Nodes[0], q)
				if want.outcome != c.want {
					return fmt.Errorf("berthctl: %s (%s), want %s", want.outcome, want.words, c.want)
				}
				return agree(ask(t, l.Nodes[0], q), want)
			})
		}
	}
	// What is unknown is no question of the socket's; its words differ only by what the two call a parameter.
	q := url.Values{"ap": {"shop/web"}}
	if r := byCLI(t, l.Nodes[0], q); r.outcome != asRefusal || !strings.Contains(r.words, "ap") {
		t.Errorf("berthctl of an unknown parameter: %+v", r)
	}
	if r := byHTTP(t, l.Nodes[0], q); r.outcome != asRefusal || !strings.Contains(r.words, `"ap"`) {
		t.Errorf("HTTP of an unknown parameter: %+v", r)
	}
}
