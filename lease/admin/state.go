package admin

import (
	"context"
	"encoding/json"
	"errors"
	"strings"

	"go.etcd.io/etcd/api/v3/mvccpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// A Store is for who sees to the cluster: all that there is, at once, its repair, and the removal of nodes.
type Store struct {
	kv     *kv.Client
	nodes  *session.Directory
	config *config.Store
}

// New is the store of a client, with those of its nodes and its configuration.
func New(kv *kv.Client, nodes *session.Directory, config *config.Store) *Store {
	return &Store{kv, nodes, config}
}

// A State is all that etcd has under the prefix, as it was at one revision, and what of it cannot be read.
type State struct {
	Revision  int64
	ClusterID string // of the etcd that answered, in hexadecimal
	Cluster   *record.Cluster
	Changed   int64 // the configuration's revision; 0: nobody has configured anything
	Settings  record.Settings
	Pools     map[string]allocator.Pool
	Config    *config.Config // what Changed, Settings and Pools are of: see Config.Bad

	Nodes        map[string]record.Node // tombstones, too
	Sessions     map[string]SessionKey
	Statuses     map[string]record.Status
	Blocks       []KeyedBlock
	Assignments  []record.Assignment
	Reservations []record.Reservation
	Identities   map[allocator.Identity]record.IdentityRecord
	Demands      []kv.Key

	Bad       []BadKey
	revisions map[string]int64   // of every key, as it is written
	config    []*mvccpb.KeyValue // but the history
	history   bool               // there is a history
	keys      kv.Keys
}

// A SessionKey is what a session's key says beside its record.
type SessionKey struct{ Lasting bool } // no lease: it does not end by itself

// A KeyedBlock is a block and its key, which may contradict the record.
type KeyedBlock struct {
	record.Block
	Key kv.Key
}

// A BadKey is a key that is none of Berth's, or one whose record cannot be read.
type BadKey struct {
	Text     string // the key as it is written
	Key      kv.Key // the zero one where Text cannot be read
	Revision int64  // the key's mod revision; 0: it is missing, and has to be there
	Added    bool   // nothing was there before
	Reason   error
	Was      string // what etcd still has of one that somebody has deleted
	Lost     bool   // it is missing, nobody knows what it was, and nothing but itself is lost
}

// Text is a key as it is written in etcd.
func (s *State) Text(key kv.Key) string { return s.keys.Of(key) }

// Has reports whether the key is there.
func (s *State) Has(key kv.Key) bool { return s.revisions[s.keys.Of(key)] > 0 }

// RevisionOf is the mod revision of a key; 0: it is not there.
func (s *State) RevisionOf(key kv.Key) int64 { return s.revisions[s.keys.Of(key)] }

// Live reports whether a node has a session.
func (s *State) Live(node string) bool { _, live := s.Sessions[node]; return live }

// pageSize is how many keys are read at once.
const pageSize = 5000

// stateTries bounds how often etcd may compact what is being read.
const stateTries = 10

// State reads everything, at one revision.
func (s *Store) State(ctx context.Context) (*State, error) {
	for try := 1; ; try++ {
		state, err := s.readState(ctx)
		if err == nil || !errors.Is(err, rpctypes.ErrCompacted) || try == stateTries {
			return state, err
		}
	}
}

func (s *Store) readState(ctx context.Context) (*State, error) {
	state := newState(s.kv.Keys)
	for from := s.kv.Keys.Prefix; ; {
		response, err := s.kv.Read(ctx, kv.ScanTime, from, clientv3.WithRange(clientv3.GetPrefixRangeEnd(s.kv.Keys.Prefix)),
			clientv3.WithLimit(pageSize), clientv3.WithRev(state.Revision))
		if err != nil {
			return nil, err
		}
		if state.Revision == 0 {
			state.Revision, state.ClusterID = response.Header.Revision, kv.ClusterID(response.Header.ClusterId)
		}
		for _, kv := range response.Kvs {
			state.learn(kv)
		}
		if !response.More {
			return state, s.readStateConfig(ctx, state)
		}
		from = string(response.Kvs[len(response.Kvs)-1].Key) + "\x00"
	}
}

// readStateConfig makes the configuration of its keys.
func (s *Store) readStateConfig(ctx context.Context, state *State) error {
	c, err := s.config.Of(ctx, state.config, state.history, state.Revision)
	if err != nil {
		return err
	}
	state.Config, state.Changed, state.Settings, state.Pools = c, c.Revision, c.Settings, c.Pools
	for _, e := range c.Bad {
		state.Bad = append(state.Bad, BadKey{Text: e.Key, Key: e.At, Revision: e.Revision, Reason: e})
	}
	return s.missHistory(ctx, state)
}

// learn adds one key.
func (s *State) learn(pair *mvccpb.KeyValue) {
	s.revisions[string(pair.Key)] = pair.ModRevision
	key, err := s.keys.Parse(string(pair.Key))
	if s.is(string(pair.Key), kv.KindHistory) {
		s.history = true
	} else if strings.HasPrefix(string(pair.Key), s.keys.Prefix+"config/") {
		s.config = append(s.config, pair)
		return
	}
	if err == nil {
		err = s.learnRecord(key, pair)
	}
	if err != nil {
		s.Bad = append(s.Bad, BadKey{Text: string(pair.Key), Key: key, Revision: pair.ModRevision, Added: pair.Version == 1, Reason: err})
	}
}

func newState(keys kv.Keys) *State {
	return &State{
		keys: keys, Settings: record.DefaultSettings(), revisions: map[string]int64{}, Pools: map[string]allocator.Pool{},
		Nodes: map[string]record.Node{}, Sessions: map[string]SessionKey{}, Statuses: map[string]record.Status{},
		Identities: map[allocator.Identity]record.IdentityRecord{},
	}
}

// learnRecord adds a record whose key can be read.
func (s *State) learnRecord(key kv.Key, pair *mvccpb.KeyValue) (err error) {
	switch key.Kind {
	case kv.KindCluster:
		var c record.Cluster
		if c, err = record.ClusterCodec.Read(s.keys, pair); err == nil {
			s.Cluster = &c
		}
	case kv.KindHistory:
		_, err = record.HistoryCodec.Read(s.keys, pair)
	case kv.KindNode:
		err = into(s.Nodes, key.Node, s.keys, record.NodeCodec, pair)
	case kv.KindSession:
		s.Sessions[key.Node] = SessionKey{Lasting: pair.Lease == 0}
	case kv.KindStatus:
		err = into(s.Statuses, key.Node, s.keys, record.StatusCodec, pair)
	case kv.KindIdentity:
		err = into(s.Identities, key.Identity, s.keys, record.IdentityCodec, pair)
	case kv.KindBlock:
		var b record.Block
		if b, err = record.BlockCodec.Read(s.keys, pair); err == nil {
			s.Blocks = append(s.Blocks, KeyedBlock{b, key})
		}
	case kv.KindAssignment:
		err = appended(&s.Assignments, s.keys, record.AssignmentCodec, pair)
	case kv.KindReservation:
		err = appended(&s.Reservations, s.keys, record.ReservationCodec, pair)
	case kv.KindDemand:
		s.Demands = append(s.Demands, key)
		_, err = record.DemandCodec.Read(s.keys, pair)
	case kv.KindQuestion:
		if key.Node == "" {
			_, err = record.QuestionCodec.Read(s.keys, pair)
		} else {
			_, err = record.AnswerCodec.Read(s.keys, pair)
		}
	case kv.KindCheck:
		if key.Node == "" {
			_, err = record.CheckCodec.Read(s.keys, pair)
		} else {
			_, err = record.CheckAnswerCodec.Read(s.keys, pair)
		}
	}
	return err
}

func into[K comparable, T any](all map[K]T, at K, keys kv.Keys, codec kv.Codec[T], kv *mvccpb.KeyValue) error {
	record, err := codec.Read(keys, kv)
	if err == nil {
		all[at] = record
	}
	return err
}

func appended[T any](all *[]T, keys kv.Keys, codec kv.Codec[T], kv *mvccpb.KeyValue) error {
	record, err := codec.Read(keys, kv)
	if err == nil {
		*all = append(*all, record)
	}
	return err
}

// is reports whether a key, as it is written, is of a kind. It need not be one that can be read.
func (s *State) is(text string, kind kv.Kind) bool {
	return text == s.keys.Prefix+string(kind) || strings.HasPrefix(text, s.keys.Under(kind))
}

// Revisions is RevisionOf for a key as it is written.
func (s *State) Revisions(text string) int64 { return s.revisions[text] }

// Former is what was at the key of a bad record last that could be read, as it was written; empty: that is not known.
func (s *Store) Former(ctx context.Context, bad BadKey) (string, error) {
	if bad.Key.Kind == "" || bad.Revision == 0 {
		return "", nil
	}
	readable := func(kv *mvccpb.KeyValue) bool { return newState(s.kv.Keys).learnRecord(bad.Key, kv) == nil }
	was, err := s.kv.Former(ctx, &mvccpb.KeyValue{Key: []byte(bad.Text), ModRevision: bad.Revision}, readable)
	if err != nil || was == nil {
		return "", err
	}
	return string(was.Value), nil
}

var (
	errErased = errors.New("it is missing: somebody has deleted it, and etcd still has what it was")
	errLost   = errors.New("it is missing: somebody has deleted it, and etcd has compacted what it was")
)

// missHistory adds the entries of the history that somebody has deleted to Bad.
func (s *Store) missHistory(ctx context.Context, state *State) error {
	missing := func(n int64) bool { return !state.Has(kv.Key{Kind: kv.KindHistory, Number: n}) }
	n := state.Config.Changes
	for n > 0 && !missing(n) {
		n--
	}
	if n == 0 || state.Config.Changes-int64(len(state.revisions)) > config.AskedTries { // the second: the number is nonsense
		return nil
	}
	erased, lost, err := s.config.ErasedHistory(ctx, state.Config)
	if err != nil {
		return err
	}
	miss := func(n int64, bad BadKey) {
		if bad.Key = (kv.Key{Kind: kv.KindHistory, Number: n}); missing(n) {
			bad.Text = s.kv.Keys.Of(bad.Key)
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

// Expected is what a damaged record of the configuration is to be, as it is written, where that is known.
func (s *State) Expected(key kv.Key) (value string, known bool) { return s.Config.Expected(key) }
