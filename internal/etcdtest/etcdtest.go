// Package etcdtest gives a package's tests one real etcd, and each test a part of it.
package etcdtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/lease/embedded"
)

// RunDir is where the etcd's socket lies while the tests run, as in the run directory of a berthd.
var RunDir string

// Main is a package's TestMain: it runs the tests in a sandbox, where there can be one, with an etcd.
func Main(m *testing.M) {
	if err := sandbox.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(serve(m.Run))
}

func serve(tests func() int) int {
	dir, err := os.MkdirTemp("", "etcd")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	RunDir = dir
	server, err := Start(dir)
	if err != nil {
		panic(err)
	}
	defer server.Stop()
	return tests()
}

// Start starts an etcd whose data and socket, etcd.sock, are in dir: there may be such data already.
func Start(dir string) (*embedded.Server, error) {
	return embedded.Start(context.Background(), embedded.Options{
		Dir: filepath.Join(dir, "data"), Name: "test", ListenUnix: filepath.Join(dir, "etcd.sock"), Fast: true,
	})
}

// Endpoints are the etcd's.
func Endpoints() []string { return []string{"unix://" + filepath.Join(RunDir, "etcd.sock")} }

var parts atomic.Int64

// Prefix is the prefix of a test's own keys; another one when the test is run again.
func Prefix(t testing.TB) string { return fmt.Sprintf("/%s/%d", t.Name(), parts.Add(1)) }

// Client is an etcd client for what only somebody with etcdctl would do.
func Client(t testing.TB) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: Endpoints(), Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}
