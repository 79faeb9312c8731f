package trace

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/mvccpb"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/model"
	"github.com/berth-ipam/berth/lease/record"
)

// A Transaction is all events of one revision.
type Transaction struct {
	Revision int64
	Events   []*clientv3.Event
	At       time.Time
	ByHand   bool // a person did it, with etcdctl: it may be anything
	Mends    bool // it may be the doctor's
}

// Transactions are those that an answer of a watch tells of.
func Transactions(r clientv3.WatchResponse, at time.Time) (all []Transaction) {
	for _, e := range r.Events {
		if n := len(all); n > 0 && all[n-1].Revision == e.Kv.ModRevision {
			all[n-1].Events = append(all[n-1].Events, e)
		} else {
			all = append(all, Transaction{Revision: e.Kv.ModRevision, Events: []*clientv3.Event{e}, At: at})
		}
	}
	return all
}

// A Checker knows what etcd has. It serves one caller at a time.
type Checker struct {
	keys    kv.Keys
	untimed bool
	cluster string // the id of the etcd that answers

	nodes        map[string]*node
	blocks       map[string]block
	reservations map[string]reservation
	strict       bool // the cluster's mode of fencing
	recorded     model.State
	recovering   time.Time // since when the cluster's key is void
}

// A node is what etcd has of one.
type node struct {
	generation int64
	session    int64       // the mod revision of its session's key; 0: there is none
	record     record.Node // the last one that could be read
	damaged    bool        // its record cannot be read now: whose session there is, is not known
	repaired   bool        // it was, and its session is as it was then
	since      time.Time   // when one of its keys was last written or deleted
}

// A block or a reservation that cannot be read is damaged: of what becomes of it nothing is judged.
type block struct {
	record.Block
	damaged bool
}

type reservation struct {
	record.Reservation
	there, damaged bool
}

// New is a checker of an etcd that is empty. One that is untimed takes every wait for long enough: where the times of the
// transactions are not known for certain.
func New(keys kv.Keys, untimed bool) *Checker {
	return &Checker{
		keys: keys, untimed: untimed, nodes: map[string]*node{}, blocks: map[string]block{}, reservations: map[string]reservation{},
		recorded: model.Missing,
	}
}

// Begin takes what an etcd has, whatever it is: at first, and when it was restored.
func (c *Checker) Begin(cluster uint64, kvs []*mvccpb.KeyValue, at time.Time) {
	strict := c.strict
	*c = *New(c.keys, c.untimed)
	c.cluster, c.strict = kv.ClusterID(cluster), strict
	for _, each := range kvs {
		c.apply(&clientv3.Event{Type: mvccpb.PUT, Kv: each}, at)
	}
}

// See takes in a transaction. Its error is a *StepError where that is no step.
func (c *Checker) See(t Transaction) (err error) {
	if !t.ByHand {
		err = c.judge(t)
	}
	for _, e := range t.Events {
		c.apply(e, t.At)
	}
	return err
}

// A StepError says that a transaction is no step of the models.
type StepError struct {
	Revision int64
	Keys     []string // all that it has written or deleted
	What     string   // what it made, as the models see it
	Nearest  string   // the step that comes next to it
}

func (e *StepError) Error() string {
	return fmt.Sprintf("the transaction of revision %d (%s) is no step of the models: %s; the nearest is %s",
		e.Revision, strings.Join(e.Keys, ", "), e.What, e.Nearest)
}

// A sight is what a transaction makes of one thing, as each of the nodes that may have done it would see it.
type sight struct {
	what  string
	each  []model.Change
	steps []string // that could have made it
}

// judge asks whether one step makes all that a transaction does.
func (c *Checker) judge(t Transaction) error {
	var common []string
	var seen []sight
	for _, s := range c.sights(t) {
		for _, change := range s.each {
			s.steps = append(append(s.steps, model.Changes()[change]...), c.besides(change, t.Mends)...)
		}
		if len(s.steps) == 0 {
			return t.wrong(s.what, nearest(s.each))
		}
		if seen = append(seen, s); len(seen) == 1 {
			common = s.steps
		}
		common = slices.DeleteFunc(slices.Clone(common), func(step string) bool { return !slices.Contains(s.steps, step) })
	}
	if len(seen) == 0 || len(common) > 0 {
		return nil
	}
	var all []string
	for _, s := range seen {
		all = append(all, fmt.Sprintf("%s (%s)", s.what, strings.Join(s.steps, " or ")))
	}
	return t.wrong(strings.Join(all, " and "), "each of them alone")
}

func (t *Transaction) wrong(what, near string) error {
	e := &StepError{Revision: t.Revision, What: what, Nearest: near}
	for _, event := range t.Events {
		e.Keys = append(e.Keys, string(event.Kv.Key))
	}
	return e
}

// nearest is the known change that differs least from one of some.
func nearest(changes []model.Change) (step string) {
	least := 1 << 10
	for _, c := range changes {
		for known, steps := range model.Changes() {
			but := differences(c, known)
			far := len(but)
			if known.From != c.From || known.To != c.To {
				far += 10 // one that goes from the same to the same is nearer
			}
			text := fmt.Sprintf("%s, but for %s", steps[0], strings.Join(but, ", "))
			if known.Of == c.Of && (far < least || far == least && text < step) {
				least, step = far, text
			}
		}
	}
	if step == "" {
		return "none"
	}
	return step
}

// differences are what a change would have to be to be another one.
func differences(is, want model.Change) (but []string) {
	note := func(what string, is, want any) {
		if is != want {
			but = append(but, fmt.Sprintf("%s %v: want %v", what, is, want))
		}
	}
	note("from", is.From, want.From)
	note("to", is.To, want.To)
	note("raised", is.Raised, want.Raised)
	note("the node has a session", is.Alive, want.Alive)
	note("the other has a session", is.OtherAlive, want.OtherAlive)
	note("its right has run out", is.Waited, want.Waited)
	note("the cluster's key", is.In, want.In)
	return but
}
