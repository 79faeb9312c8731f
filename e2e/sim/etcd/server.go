// Package etcd runs etcd itself inside a bubble of testing/synctest, without a network, and is the way to it of each simulated node.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"
	_ "unsafe" // for go:linkname

	bolt "go.etcd.io/bbolt"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/client/pkg/v3/types"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/etcdutl/v3/snapshot"
	"go.etcd.io/etcd/server/v3/config"
	"go.etcd.io/etcd/server/v3/embed"
	"go.etcd.io/etcd/server/v3/etcdserver"
	"go.etcd.io/etcd/server/v3/etcdserver/api/v3client"
	"go.etcd.io/etcd/server/v3/features"
	"go.etcd.io/etcd/server/v3/lease"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The client's watcher waits on a channel that is made when its package is loaded, outside of every bubble: a goroutine that does
// so is never durably blocked, and the bubble's clock stands still. Nobody ever closes it, and nil does as well.
//
//go:linkname valCtxCh go.etcd.io/etcd/client/v3.valCtxCh
var valCtxCh chan struct{}

func init() { valCtxCh = nil }

// A Server is an etcd of one member. It is driven by one goroutine; any may ask for its client.
type Server struct {
	dir  string // its data is below
	life int    // how many clusters there were

	mu     sync.Mutex
	etcd   *etcdserver.EtcdServer
	client *clientv3.Client // nil: it does not run
	ended  chan struct{}    // closed when the server ends
}

const (
	member = "m"
	peer   = "http://127.0.0.1:2380" // nobody listens there
)

// Start starts an etcd with its data below a directory, and waits until it serves.
func Start(dir string) (*Server, error) {
	s := &Server{dir: dir}
	return s, s.start(true)
}

func (s *Server) token() string { return fmt.Sprint("cluster", s.life) }

func (s *Server) data() string { return filepath.Join(s.dir, s.token()) }

func (s *Server) start(fresh bool) error {
	u, err := url.Parse(peer)
	if err != nil {
		return err
	}
	urls := types.URLs{*u}
	// Nothing is purged: a run is short, and a purge of what a restore has removed would end the process.
	server, err := etcdserver.NewServer(config.ServerConfig{
		Name: member, ClientURLs: urls, PeerURLs: urls, DataDir: s.data(), SnapshotCount: 10000, SnapshotCatchUpEntries: 5000,
		InitialPeerURLsMap: types.URLsMap{member: urls}, InitialClusterToken: s.token(), NewCluster: fresh,
		TickMs: 500, ElectionTicks: 10, InitialElectionTickAdvance: true, BackendFreelistType: bolt.FreelistMapType,
		BackendBatchInterval: time.Minute, BackendBatchLimit: 10000, MaxTxnOps: embed.DefaultMaxTxnOps,
		MaxRequestBytes: embed.DefaultMaxRequestBytes, QuotaBackendBytes: 8 << 30, CompactionBatchLimit: 1000,
		WarningApplyDuration: time.Hour, WarningUnaryRequestDuration: time.Hour, UnsafeNoFsync: true, Logger: lastWords(),
		AuthToken: "simple", TokenTTL: 300, BcryptCost: 4, BootstrapTimeout: time.Second,
		ServerFeatureGate: features.NewDefaultServerFeatureGate(member, zap.NewNop()),
	})
	if err != nil {
		return fmt.Errorf("etcd in a bubble: %w", err)
	}
	server.Start()
	<-server.ReadyNotify()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.etcd, s.client, s.ended = server, v3client.New(server), make(chan struct{})
	return nil
}

// Client is a client of its own, without delay or fault; nil while etcd does not run.
func (s *Server) Client() *clientv3.Client {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.client
}

// running is the server that runs, or ran last.
func (s *Server) running() *etcdserver.EtcdServer {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.etcd
}

// end is closed when the server that runs ends.
func (s *Server) end() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ended
}

// Stop ends the server. What it has acknowledged is kept.
func (s *Server) Stop() {
	s.mu.Lock()
	former, server, ended := s.client, s.etcd, s.ended
	s.client = nil
	s.mu.Unlock()
	if former == nil {
		return
	}
	close(ended)
	former.Close()
	server.HardStop()
}

// Restart ends the server, and starts it after an outage: as a new leader it extends all leases.
func (s *Server) Restart(outage time.Duration) error {
	s.Stop()
	time.Sleep(outage)
	return s.start(false)
}

// SetAlarm has etcd refuse to grow, as it does whose quota is used up, or ends that.
func (s *Server) SetAlarm(on bool) error {
	request := &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType_NOSPACE, MemberID: uint64(s.running().MemberID())}
	if on {
		request.Action = pb.AlarmRequest_ACTIVATE
	}
	_, err := s.running().Alarm(context.Background(), request)
	return err
}

// Defragment writes the data anew, without its gaps.
func (s *Server) Defragment() error { return s.running().Backend().Defrag() }

// Snapshot keeps a copy of the data, for Restore.
func (s *Server) Snapshot() (path string, err error) {
	path = filepath.Join(s.dir, "snapshot")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	from := s.running().Backend().Snapshot()
	defer from.Close()
	_, err = from.WriteTo(f)
	return path, err
}

// Restore ends the server, and starts one of a former snapshot, which is another cluster to its clients, by its id.
func (s *Server) Restore(path string) error {
	s.Stop()
	former := s.data()
	s.life++
	err := snapshot.NewV3(zap.NewNop()).Restore(snapshot.RestoreConfig{
		SnapshotPath: path, Name: member, OutputDataDir: s.data(), PeerURLs: []string{peer}, InitialCluster: member + "=" + peer,
		InitialClusterToken: s.token(), SkipHashCheck: true,
	})
	if err != nil {
		return fmt.Errorf("etcd in a bubble: restore: %w", err)
	}
	if err := os.RemoveAll(former); err != nil {
		return err
	}
	return s.start(false)
}

// renew renews a lease. As on a stream, a lease that is not there has no time left, and that is no error.
func (s *Server) renew(ctx context.Context, id int64) (*pb.LeaseKeepAliveResponse, error) {
	ttl, err := s.running().LeaseRenew(ctx, lease.LeaseID(id))
	if errors.Is(err, lease.ErrLeaseNotFound) {
		ttl, err = 0, nil
	}
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &pb.LeaseKeepAliveResponse{ID: id, TTL: ttl}, nil
}

// lastWords logs why an etcd ends the process, and nothing else.
func lastWords() *zap.Logger {
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), zapcore.Lock(os.Stderr), zap.DPanicLevel))
}
