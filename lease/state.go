package lease

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
)

// An adminStore is for who sees to the cluster: all that there is, at once, and its repair.
type adminStore struct {
	kv       *Client
	sessions *sessionStore
	config   *configStore
}

func newAdminStore(kv *Client, sessions *sessionStore, config *configStore) *adminStore {
	return &adminStore{kv, sessions, config}
}

// A State is all that etcd has under the prefix, as it was at one revision, and what of it cannot be read.
type State struct {
	Revision  int64
	ClusterID string // of the etcd that answered, in hexadecimal
	Cluster   *Cluster
	Changed   int64 // the configuration's revision; 0: nobody has configured anything
	Settings  Settings
	Pools     map[string]allocator.Pool
	Config    *Config // what Changed, Settings and Pools are of: see Config.Bad

	Nodes        map[string]Node // gravestones, too
	Sessions     map[string]SessionKey
	Statuses     map[string]Status
	Blocks       []KeyedBlock
	Assignments  []Assignment
	Reservations []Reservation
	Identities   map[allocator.Identity]IdentityRecord
	Demands      []Key

	Bad       []BadKey
	revisions map[string]int64   // of every key, as it is written
	config    []*mvccpb.KeyValue // but the history
	history   bool               // there is a history
	keys      Keys
}

// A SessionKey is what a session's key says beside its record.
type SessionKey struct{ Lasting bool } // no lease: it does not end by itself

// A KeyedBlock is a block and its key, which may say otherwise than the record.
type KeyedBlock struct {
	Block
	Key Key
}

// A BadKey is a key that is none of Berth's, or one whose record cannot be read.
type BadKey struct {
	Text     string // the key as it is written
	Key      Key    // the zero one where Text cannot be read
	Revision int64  // the key's mod revision; 0: it is missing, and has to be there
	Added    bool   // nothing was there before
	Reason   error
	Was      string // what etcd still has of one that somebody has deleted
	Lost     bool   // it is missing, nobody knows what it was, and nothing but itself is lost
}

// Text is a key as it is written in etcd.
func (s *State) Text(key Key) string { return s.keys.Of(key) }

// Has reports whether the key is there.
func (s *State) Has(key Key) bool { return s.revisions[s.keys.Of(key)] > 0 }

// RevisionOf is the mod revision of a key; 0: it is not there.
func (s *State) RevisionOf(key Key) int64 { return s.revisions[s.keys.Of(key)] }

// Live reports whether a node has a session.
func (s *State) Live(node string) bool { _, live := s.Sessions[node]; return live }

// page is how many keys are read at once.
const page = 5000

// stateTries bounds how often etcd may compact what is being read.
const stateTries = 10

// State reads everything, at one revision.
func (s *adminStore) State(ctx context.Context) (*State, error) {
	for try := 1; ; try++ {
		state, err := s.readState(ctx)
		if err == nil || !errors.Is(err, rpctypes.ErrCompacted) || try == stateTries {
			return state, err
		}
	}
}

func (s *adminStore) readState(ctx context.Context) (*State, error) {
	state := new(State).with(s.kv.keys)
	for from := s.kv.keys.prefix; ; {
		response, err := s.kv.read(ctx, scanTime, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(s.kv.keys.prefix)),
			clientv3.WithLimit(page), clientv3.WithRev(state.Revision))
		if err != nil {
			return nil, err
		}
		if state.Revision == 0 {
			state.Revision, state.ClusterID = response.Header.Revision, clusterID(response.Header.ClusterId)
		}
		for _, kv := range response.Kvs {
			state.take(kv)
		}
		if !response.More {
			return state, s.readStateConfig(ctx, state)
		}
		from = string(response.Kvs[len(response.Kvs)-1].Key) + "\x00"
	}
}

// readStateConfig makes the configuration of its keys.
func (s *adminStore) readStateConfig(ctx context.Context, state *State) error {
	c, err := s.config.configOf(ctx, state.config, state.history, state.Revision)
	if err != nil {
		return err
	}
	state.Config, state.Changed, state.Settings, state.Pools = c, c.Revision, c.Settings, c.Pools
	for _, e := range c.Bad {
		state.Bad = append(state.Bad, BadKey{Text: e.Key, Key: e.At, Revision: e.Revision, Reason: e})
	}
	return s.missHistory(ctx, state)
}

// take brings one key in.
func (s *State) take(kv *mvccpb.KeyValue) {
	s.revisions[string(kv.Key)] = kv.ModRevision
	key, err := s.keys.Parse(string(kv.Key))
	if s.Is(string(kv.Key), KindHistory) {
		s.history = true
	} else if strings.HasPrefix(string(kv.Key), s.keys.prefix+"config/") {
		s.config = append(s.config, kv)
		return
	}
	if err == nil {
		err = s.takeRecord(key, kv)
	}
	if err != nil {
		s.Bad = append(s.Bad, BadKey{Text: string(kv.Key), Key: key, Revision: kv.ModRevision, Added: kv.Version == 1, Reason: err})
	}
}

// with is an empty state of keys.
func (s *State) with(keys Keys) *State {
	s.keys, s.Settings, s.revisions = keys, DefaultSettings(), map[string]int64{}
	s.Pools, s.Nodes, s.Sessions = map[string]allocator.Pool{}, map[string]Node{}, map[string]SessionKey{}
	s.Statuses, s.Identities = map[string]Status{}, map[allocator.Identity]IdentityRecord{}
	return s
}

func (s *State) takeRecord(key Key, kv *mvccpb.KeyValue) (err error) {
	switch key.Kind {
	case KindCluster:
		var c Cluster
		if c, err = clusterCodec.read(s.keys, kv); err == nil {
			s.Cluster = &c
		}
	case KindHistory:
		_, err = historyCodec.read(s.keys, kv)
	case KindNode:
		err = into(s.Nodes, key.Node, s.keys, nodeCodec, kv)
	case KindSession:
		s.Sessions[key.Node] = SessionKey{Lasting: kv.Lease == 0}
	case KindStatus:
		err = into(s.Statuses, key.Node, s.keys, statusCodec, kv)
	case KindIdentity:
		err = into(s.Identities, key.Identity, s.keys, identityCodec, kv)
	case KindBlock:
		var b Block
		if b, err = blockCodec.read(s.keys, kv); err == nil {
			s.Blocks = append(s.Blocks, KeyedBlock{b, key})
		}
	case KindAssignment:
		err = appended(&s.Assignments, s.keys, assignmentCodec, kv)
	case KindReservation:
		err = appended(&s.Reservations, s.keys, reservationCodec, kv)
	case KindDemand:
		s.Demands = append(s.Demands, key)
		_, err = demandCodec.read(s.keys, kv)
	case KindQuestion:
		if key.Node == "" {
			_, err = questionCodec.read(s.keys, kv)
		} else {
			_, err = answerCodec.read(s.keys, kv)
		}
	}
	return err
}

func into[K comparable, T any](all map[K]T, at K, keys Keys, codec codec[T], kv *mvccpb.KeyValue) error {
	record, err := codec.read(keys, kv)
	if err == nil {
		all[at] = record
	}
	return err
}

func appended[T any](all *[]T, keys Keys, codec codec[T], kv *mvccpb.KeyValue) error {
	record, err := codec.read(keys, kv)
	if err == nil {
		*all = append(*all, record)
	}
	return err
}

// Is reports whether a key, as it is written, would be of a kind; it need not be one that can be read.
func (s *State) Is(text string, kind Kind) bool {
	return text == s.keys.prefix+string(kind) || strings.HasPrefix(text, s.keys.Under(kind))
}

// Revisions is RevisionOf for a key as it is written.
func (s *State) Revisions(text string) int64 { return s.revisions[text] }

// Former is what was at the key of a bad record last that could be read, as it was written; empty: that is not known.
func (s *adminStore) Former(ctx context.Context, bad BadKey) (string, error) {
	if bad.Key.Kind == "" || bad.Revision == 0 {
		return "", nil
	}
	readable := func(kv *mvccpb.KeyValue) bool { return new(State).with(s.kv.keys).takeRecord(bad.Key, kv) == nil }
	was, err := s.kv.former(ctx, &mvccpb.KeyValue{Key: []byte(bad.Text), ModRevision: bad.Revision}, readable)
	if err != nil || was == nil {
		return "", err
	}
	return string(was.Value), nil
}

var (
	errErased = errors.New("it is missing: somebody has deleted it, and etcd still has what it was")
	errLost   = errors.New("it is missing: somebody has deleted it, and etcd has compacted what it was")
)

// missHistory tells of the entries of the history that somebody has deleted.
func (s *adminStore) missHistory(ctx context.Context, state *State) error {
	missing := func(n int64) bool { return !state.Has(Key{Kind: KindHistory, Number: n}) }
	n := state.Config.Changes
	for n > 0 && !missing(n) {
		n--
	}
	if n == 0 || state.Config.Changes-int64(len(state.revisions)) > askedTries { // the second: the number is nonsense
		return nil
	}
	erased, lost, err := s.config.erasedHistory(ctx, state.Config)
	if err != nil {
		return err
	}
	miss := func(n int64, bad BadKey) {
		if bad.Key = (Key{Kind: KindHistory, Number: n}); missing(n) {
			bad.Text = s.kv.keys.Of(bad.Key)
			state.Bad = append(state.Bad, bad)
		}
	}
	for n, e := range erased {
		text, _ := json.Marshal(e) // with the revision that its change made, unlike one that a change writes
		miss(n, BadKey{Reason: errErased, Was: string(text)})
	}
	for _, n := range lost {
		miss(n, BadKey{Reason: errLost, Lost: true})
	}
	return nil
}

// Right is what a damaged record of the configuration is to be, as it is written, where that is known.
func (s *State) Right(key Key) (value string, known bool) { return s.Config.Right(key) }
