package etcd

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3rpc"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/keepalive"
	"google.golang.org/grpc/test/bufconn"

	"github.com/berth-ipam/berth/lease/kv"
)

// A wire is a way to an etcd over gRPC: as to one member.
type wire struct {
	under func(ctx context.Context) (net.Conn, error)

	mu     sync.Mutex
	conns  []*conn
	breaks bool          // the next write gets half of what it has through, and breaks the connection
	cut    bool          // what is written is lost
	stuck  chan struct{} // not nil: requests do not arrive until it is closed
	held   chan struct{} // not nil: answers do not come back until it is closed
}

// A conn is one connection over a wire.
type conn struct {
	net.Conn
	wire *wire
}

func (c *conn) Write(b []byte) (int, error) {
	w := c.wire
	w.mu.Lock()
	stuck, breaks, cut := w.stuck, w.breaks, w.cut
	w.breaks = false
	w.mu.Unlock()
	if stuck != nil {
		<-stuck
	}
	if cut {
		return len(b), nil
	}
	if breaks {
		n, _ := c.Conn.Write(b[:len(b)/2])
		c.Close()
		return n, io.ErrClosedPipe
	}
	return c.Conn.Write(b)
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.wire.mu.Lock()
	held := c.wire.held
	c.wire.mu.Unlock()
	if held != nil && err == nil {
		<-held
		return 0, io.EOF // what was held is lost
	}
	return n, err
}

// breakOff breaks the connection within the next write.
func (w *wire) breakOff() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.breaks = true
}

// hang keeps connections, and carries no requests, until the end that it returns is called.
func (w *wire) hang() (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	stuck := make(chan struct{})
	w.stuck = stuck
	return sync.OnceFunc(func() {
		w.mu.Lock()
		w.stuck = nil
		w.mu.Unlock()
		close(stuck)
	})
}

// hold keeps answers back until the end that it returns is called, which breaks every connection: they are lost.
func (w *wire) hold() (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	held := make(chan struct{})
	w.held = held
	return sync.OnceFunc(func() {
		w.mu.Lock()
		w.held = nil
		w.drop()
		w.mu.Unlock()
		close(held)
	})
}

// lose loses requests until the end that it returns is called, which breaks every connection.
func (w *wire) lose() (end func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	return func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.cut = false
		w.drop()
	}
}

// drop breaks every connection.
func (w *wire) drop() {
	for _, c := range w.conns {
		c.Close()
	}
	w.conns = nil
}

// wires are the ways to an etcd's members.
type wires []*wire

// Connect is kv.Network's: etcd's own client, with the product's times.
func (all wires) Connect(string) (kv.Etcd, error) {
	endpoints, by := []string{}, map[string]*wire{}
	for i, w := range all {
		at := fmt.Sprintf("192.0.2.%d:2379", i+1)
		endpoints, by[at] = append(endpoints, "http://"+at), w
	}
	c, err := clientv3.New(clientv3.Config{
		Endpoints: endpoints, Logger: zap.NewNop(),
		DialTimeout: kv.CallTime, DialKeepAliveTime: 2 * kv.CallTime, DialKeepAliveTimeout: kv.CallTime,
		DialOptions: []grpc.DialOption{
			grpc.WithContextDialer(func(ctx context.Context, at string) (net.Conn, error) { return by[at].dial(ctx) }),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, MaxDelay: time.Second},
				MinConnectTimeout: kv.CallTime,
			}),
		},
	})
	return ownClient{c}, err
}

func (w *wire) dial(ctx context.Context) (net.Conn, error) {
	under, err := w.under(ctx)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	c := &conn{under, w}
	w.conns = append(w.conns, c)
	return c, nil
}

// Reach is kv.Network's.
func (all wires) Reach(context.Context) error { return nil }

// ownClient is etcd's own client as a kv.Etcd.
type ownClient struct{ *clientv3.Client }

func (c ownClient) Renewals(ctx context.Context) (pb.Lease_LeaseKeepAliveClient, error) {
	return pb.NewLeaseClient(c.ActiveConnection()).LeaseKeepAlive(ctx)
}

// bubble is an etcd on virtual time, reached over gRPC by so many wires.
type bubble struct {
	*testing.T
	server *Server
	wires  wires
}

// inBubble runs a test with an etcd on virtual time.
func inBubble(t *testing.T, members int, test func(b *bubble)) {
	t.Helper()
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	synctest.Test(t, func(t *testing.T) {
		server, err := Start(dir)
		if err != nil {
			t.Fatal(err)
		}
		defer server.Stop()
		b := &bubble{t, server, nil}
		for range members {
			listener := bufconn.Listen(1 << 20)
			w := &wire{under: listener.DialContext}
			b.wires = append(b.wires, w)
			g := v3rpc.Server(server.running(), nil, nil, grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: kv.CallTime}))
			go func() { _ = g.Serve(listener) }()
			defer g.Stop()
		}
		test(b)
	})
}

// client is the product's, over all wires, and whether it is connected.
func (b *bubble) client() *kv.Client {
	b.Helper()
	c, err := kv.Open(kv.Options{Endpoints: []string{"192.0.2.1:2379"}, Network: b.wires})
	b.check(err)
	_, err = c.Get(b.Context(), "/connected")
	b.check(err)
	return c
}

func (b *bubble) check(err error) {
	b.Helper()
	if err != nil {
		b.Error(err)
	}
}

// stored is what etcd has at a key, with how often it was written; asked beside all wires.
func (b *bubble) stored(key string) (value string, version int64) {
	b.Helper()
	r, err := b.server.Client().Get(b.Context(), key)
	b.check(err)
	if err != nil || len(r.Kvs) == 0 {
		return "", 0
	}
	return string(r.Kvs[0].Value), r.Kvs[0].Version
}
