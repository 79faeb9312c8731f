package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/session"
)

// renewing is a way to etcd on which renewals are answered otherwise: with an error, or for a lease that has so much time left.
type renewing struct {
	kv.Network
	err     error
	left    int64
	streams []context.Context // of all streams so far
}

func (r *renewing) Connect(password string) (kv.Etcd, error) {
	etcd, err := r.Network.Connect(password)
	return &renewingEtcd{etcd, r}, err
}

type renewingEtcd struct {
	kv.Etcd
	*renewing
}

func (e *renewingEtcd) Renewals(ctx context.Context) (pb.Lease_LeaseKeepAliveClient, error) {
	e.streams = append(e.streams, ctx)
	return renewal{r: e.renewing}, nil
}

type renewal struct {
	pb.Lease_LeaseKeepAliveClient
	r *renewing
}

func (renewal) Send(*pb.LeaseKeepAliveRequest) error { return nil }

func (s renewal) Recv() (*pb.LeaseKeepAliveResponse, error) {
	return &pb.LeaseKeepAliveResponse{TTL: s.r.left}, s.r.err
}

func TestASessionEndsByARenewalOnlyWhereEtcdSaysThatItsLeaseIsGone(t *testing.T) {
	for name, tc := range map[string]struct {
		err    error
		left   int64
		proofs bool
		ends   error
	}{
		"renewed":                        {nil, 10, true, context.DeadlineExceeded},
		"refused":                        {rpctypes.ErrGRPCPermissionDenied, 0, false, context.DeadlineExceeded},
		"gone, and its key is there yet": {nil, 0, false, session.ErrLost},
	} {
		t.Run(name, func(t *testing.T) {
			lab.InBubble(t, func(b *lab.Bubble) {
				way := &renewing{Network: b.Options.Network, err: tc.err, left: tc.left}
				x := b.Join(b.Store(func(o *kv.Options) { o.Network = way }), "n1")
				ctx, cancel := context.WithTimeout(b.Context(), 30*time.Second)
				defer cancel()
				proofs := 0
				err := x.Keep(ctx, lab.Told(func(time.Duration) { proofs++ }))
				if !errors.Is(err, tc.ends) || (proofs > 0) != tc.proofs {
					t.Errorf("after %d proofs it ended with %v", proofs, err)
				}
				for i, stream := range way.streams {
					if stream.Err() == nil {
						t.Errorf("stream %d of %d is open yet", i+1, len(way.streams))
					}
				}
			})
		})
	}
}
