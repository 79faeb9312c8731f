package kv

import (
	"sync"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/balancer"
	"google.golang.org/grpc/balancer/endpointsharding"
	"google.golang.org/grpc/balancer/pickfirst"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/connectivity"
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/status"
)

const (
	// answering is the load balancing policy by which calls go to the members of etcd in turn, past those that have left a call
	// unanswered. The client's own policy, round_robin, leaves out only those without a connection: a member that hangs, or that the
	// others do not reach, gets every third try of every call then, also the next one of a call that it has just left unanswered.
	answering = "berth_answering"
	// silentFor is for how long a member is passed over.
	silentFor = 15 * time.Second
)

func init() { balancer.Register(answeringBuilder{}) }

// byAnswering has a connection use the policy: instead of the one that the client's resolver asks for.
func byAnswering() []grpc.DialOption {
	return []grpc.DialOption{
		grpc.WithDisableServiceConfig(),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"` + answering + `": {}}]}`),
	}
}

type answeringBuilder struct{}

func (answeringBuilder) Name() string { return answering }

func (answeringBuilder) Build(cc balancer.ClientConn, o balancer.BuildOptions) balancer.Balancer {
	states := &memberStates{ClientConn: cc, members: resolver.NewEndpointMap[*member]()}
	return endpointsharding.NewBalancer(states, o, balancer.Get(pickfirst.Name).Build, endpointsharding.Options{})
}

// memberStates reports the members' states to the connection, with a picker that chooses among the connected ones.
type memberStates struct {
	balancer.ClientConn

	mu      sync.Mutex
	members *resolver.EndpointMap[*member]
	turn    atomic.Uint32
}

// A member is one of etcd's. It is kept while its connection is lost.
type member struct {
	silent atomic.Pointer[time.Time] // when it left a call unanswered; nil: it has answered since
}

func (s *memberStates) UpdateState(state balancer.State) {
	p := &picker{turn: &s.turn}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, child := range endpointsharding.ChildStatesFromPicker(state.Picker) {
		if child.State.ConnectivityState != connectivity.Ready {
			continue
		}
		m, known := s.members.Get(child.Endpoint)
		if !known {
			m = new(member)
			s.members.Set(child.Endpoint, m)
		}
		p.connected = append(p.connected, choice{m, child.State.Picker})
	}
	if len(p.connected) > 0 {
		state = balancer.State{ConnectivityState: connectivity.Ready, Picker: p}
	}
	s.ClientConn.UpdateState(state)
}

// A picker chooses the member for each call. See https://github.com/grpc/grpc/blob/master/doc/load-balancing.md.
type picker struct {
	turn      *atomic.Uint32
	connected []choice
}

type choice struct {
	*member
	picker balancer.Picker // of its connection
}

func (p *picker) Pick(info balancer.PickInfo) (balancer.PickResult, error) {
	chosen := p.choose(time.Now())
	result, err := chosen.picker.Pick(info)
	if err != nil {
		return result, err
	}
	inner := result.Done
	result.Done = func(done balancer.DoneInfo) {
		if inner != nil {
			inner(done)
		}
		chosen.note(done.Err)
	}
	return result, nil
}

// choose is the next connected member that has not left a call unanswered lately. Where all have, as while a leader is elected, it is
// simply the next one: what is known of them does not tell which one hangs, and calls under way at once are to find that out.
func (p *picker) choose(now time.Time) choice {
	first := int(p.turn.Add(1) % uint32(len(p.connected)))
	for i := range p.connected {
		c := p.connected[(first+i)%len(p.connected)]
		if at := c.silent.Load(); at == nil || now.Sub(*at) >= silentFor {
			return c
		}
	}
	return p.connected[first]
}

// note records how a call to the member ended. One that its caller has given up tells nothing.
func (m *member) note(err error) {
	switch status.Code(err) {
	case codes.OK:
		m.silent.Store(nil)
	case codes.DeadlineExceeded, codes.Unavailable: // also a member without a leader, and one that waits for the others in vain
		now := time.Now()
		m.silent.Store(&now)
	}
}
