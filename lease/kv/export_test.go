package kv

import (
	"context"

	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/grpc"

	"github.com/berth-ipam/berth/internal/task"
)

var (
	ProofFloor = proofFloor
	AuthFloor  = authFloor
)

func (f floor) Admits(version string) bool { return f.admits(version) }

func (f floor) Newest() int { return f.newest() }

// Options are those by which the client logs in.
func (c *Client) Options() *Options { return &c.login.options }

func NewEndpoints(o Options) Network { return newEndpoints(o) }

// DialWith makes connections with one more option.
func (c *Client) DialWith(o grpc.DialOption) {
	e := c.login.network.(*endpoints)
	e.dial = append(e.dial, o)
}

func (c *Client) HasUsers(ctx context.Context, client Etcd) bool {
	return c.hasUsers(ctx, client)
}

func (c *Client) JudgeReleases(ctx context.Context, client Etcd, versions []string, errs []error) ([]*ReleaseWarning, error) {
	return c.judgeReleases(ctx, client, versions, errs)
}

func (i *Incarnation) Changing() task.Lock { return i.changing }

func UpdateOf[T any](keys Keys, codec Codec[T], events []*clientv3.Event) (Update[T], bool) {
	return updateOf(keys, codec, events)
}
