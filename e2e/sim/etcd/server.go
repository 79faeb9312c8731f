// Package etcd runs etcd itself inside a bubble of testing/synctest, without a network, and is the way to it of each simulated node.
package etcd

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
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
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// The client's watcher waits on a channel that is made when its package is loaded, outside of every bubble: a goroutine that does
// so is never durably blocked, and the bubble's clock stands still. Nobody ever closes it, and nil does as well.
//
//go:linkname valCtxCh go.etcd.io/etcd/client/v3.valCtxCh
var valCtxCh chan struct{}

func init() { valCtxCh = nil }

// A Server is an etcd of one member. It is driven by one goroutine.
type Server struct {
	dir    string // its data is below
	life   int    // how many clusters there were
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

func (s *Server) start(fresh bool) (err error) {
	u, err := url.Parse(peer)
	if err != nil {
		return err
	}
	urls := types.URLs{*u}
	s.etcd, err = etcdserver.NewServer(config.ServerConfig{
		Name: member, ClientURLs: urls, PeerURLs: urls, DataDir: s.data(), SnapshotCount: 10000, SnapshotCatchUpEntries: 5000,
		MaxSnapFiles: 2, MaxWALFiles: 2, InitialPeerURLsMap: types.URLsMap{member: urls}, InitialClusterToken: s.token(), NewCluster: fresh,
		TickMs: 500, ElectionTicks: 10, InitialElectionTickAdvance: true, BackendFreelistType: bolt.FreelistMapType,
		BackendBatchInterval: time.Minute, BackendBatchLimit: 10000, MaxTxnOps: embed.DefaultMaxTxnOps,
		MaxRequestBytes: embed.DefaultMaxRequestBytes, QuotaBackendBytes: 8 << 30, CompactionBatchLimit: 1000,
		WarningApplyDuration: time.Hour, WarningUnaryRequestDuration: time.Hour, UnsafeNoFsync: true, Logger: zap.NewNop(),
		AuthToken: "simple", TokenTTL: 300, BcryptCost: 4, BootstrapTimeout: time.Second,
		ServerFeatureGate: features.NewDefaultServerFeatureGate(member, zap.NewNop()),
	})
	if err != nil {
		return fmt.Errorf("etcd in a bubble: %w", err)
	}
	s.etcd.Start()
	<-s.etcd.ReadyNotify()
	s.client = v3client.New(s.etcd)
	s.ended = make(chan struct{})
	return nil
}

// Client is a client of its own, without delay or fault; nil while etcd does not run.
func (s *Server) Client() *clientv3.Client { return s.client }

// Stop ends the server. What it has acknowledged is kept.
func (s *Server) Stop() {
	if s.client == nil {
		return
	}
	former := s.client
	s.client = nil
	close(s.ended)
	former.Close()
	s.etcd.HardStop()
}

// Restart ends the server, and starts it after an outage: as a new leader it extends all leases.
func (s *Server) Restart(outage time.Duration) error {
	s.Stop()
	time.Sleep(outage)
	return s.start(false)
}

// SetAlarm has etcd refuse to grow, as it does whose quota is used up, or ends that.
func (s *Server) SetAlarm(on bool) error {
	request := &pb.AlarmRequest{Action: pb.AlarmRequest_DEACTIVATE, Alarm: pb.AlarmType_NOSPACE, MemberID: uint64(s.etcd.MemberID())}
	if on {
		request.Action = pb.AlarmRequest_ACTIVATE
	}
	_, err := s.etcd.Alarm(context.Background(), request)
	return err
}

// Defragment writes the data anew, without its gaps.
func (s *Server) Defragment() error { return s.etcd.Backend().Defrag() }

// Snapshot keeps a copy of the data, for Restore.
func (s *Server) Snapshot() (path string, err error) {
	path = filepath.Join(s.dir, "snapshot")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	from := s.etcd.Backend().Snapshot()
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
	ttl, err := s.etcd.LeaseRenew(ctx, lease.LeaseID(id))
	if errors.Is(err, lease.ErrLeaseNotFound) {
		ttl, err = 0, nil
	}
	if err != nil {
		return nil, status.Error(codes.Unavailable, err.Error())
	}
	return &pb.LeaseKeepAliveResponse{ID: id, TTL: ttl}, nil
}
