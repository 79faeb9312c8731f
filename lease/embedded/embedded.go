// Package embedded is an etcd inside the process: the store of a cluster of one machine, of the demo and of the tests.
package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// Options say where the etcd keeps its data and where it listens.
type Options struct {
	Dir          string      // its data, which outlives it; made if it is missing
	Name         string      // the member's
	ListenUnix   string      // path of a socket for its owner alone, mode 0600; may be empty
	ListenClient []string    // further client URLs, such as http://127.0.0.1:2379
	Fast         bool        // for tests and the demo: elects at once, and loses data in a power cut
	Log          *zap.Logger // of warnings and errors; nil: none
}

// A Server is a running etcd.
type Server struct {
	etcd      *embed.Etcd
	level     zap.AtomicLevel // of what it logs
	socket    string
	endpoints []string
	once      sync.Once // of Stop
}

// unusedPeer is what a member must have for a URL. It has no peers, and listens to none.
var unusedPeer = url.URL{Scheme: "http", Host: "127.0.0.1:2380"}

// Start runs an etcd and waits until it serves. It takes up the data that it finds.
func Start(ctx context.Context, o Options) (*Server, error) {
	s, err := start(ctx, o)
	if err != nil {
		return nil, fmt.Errorf("embedded etcd: %w", err)
	}
	return s, nil
}

func start(ctx context.Context, o Options) (_ *Server, err error) {
	if o.ListenUnix == "" && len(o.ListenClient) == 0 {
		return nil, errors.New("it listens nowhere: want a socket's path or a client URL")
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.ListenUnix != "" {
		if o.ListenUnix, err = filepath.Abs(o.ListenUnix); err != nil {
			return nil, err
		}
	}
	s := &Server{socket: o.ListenUnix}
	urls, err := clientURLs(o.ListenClient)
	if err != nil {
		return nil, err
	}
	private, err := newPrivateSocket(o.ListenUnix)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, private.remove()) }()
	if o.ListenUnix != "" {
		urls = append(urls, url.URL{Scheme: "unix", Path: private.path()})
	}
	// While it starts, etcd warns of things that are as they should be.
	s.level = zap.NewAtomicLevelAt(zap.ErrorLevel)
	if s.etcd, err = serve(ctx, config(o, urls, withoutExpected(o.Log).WithOptions(zap.IncreaseLevel(s.level)))); err != nil {
		return nil, err
	}
	s.level.SetLevel(zap.WarnLevel)
	if err := private.publish(o.ListenUnix); err != nil {
		s.Stop()
		return nil, err
	}
	s.endpoints = s.listening()
	return s, nil
}

// Check tells what the etcd could never listen on.
func (o Options) Check() error {
	_, err := clientURLs(o.ListenClient)
	return err
}

func clientURLs(texts []string) ([]url.URL, error) {
	var urls []url.URL
	for _, text := range texts {
		u, err := url.Parse(text)
		if err != nil || u.Scheme != "http" || u.Host == "" {
			return nil, fmt.Errorf("client URL %q: want one such as http://127.0.0.1:2379", text)
		}
		urls = append(urls, *u)
	}
	return urls, nil
}

func config(o Options, clients []url.URL, log *zap.Logger) *embed.Config {
	c := embed.NewConfig()
	c.Name, c.Dir = o.Name, o.Dir
	c.ListenClientUrls, c.AdvertiseClientUrls = clients, clients
	c.ListenPeerUrls, c.AdvertisePeerUrls = nil, []url.URL{unusedPeer}
	c.InitialCluster = c.InitialClusterFromName(c.Name)
	// A cluster's id comes from its token: an etcd that was made anew is told from the one before it.
	c.InitialClusterToken = rand.Text()
	c.EnableGRPCGateway = false
	c.AutoCompactionMode, c.AutoCompactionRetention = embed.CompactorModePeriodic, "1h"
	c.ZapLoggerBuilder = embed.NewZapLoggerBuilder(log)
	if o.Fast {
		c.TickMs, c.ElectionMs, c.UnsafeNoFsync = 10, 100, true
		c.BcryptCost = 4 // bcrypt's least: a test's password is no secret
	}
	return c
}

// serve starts an etcd. Starting cannot be broken off, so one that comes too late is closed when it comes.
func serve(ctx context.Context, c *embed.Config) (*embed.Etcd, error) {
	type result struct {
		etcd *embed.Etcd
		err  error
	}
	started := make(chan result, 1)
	go func() {
		etcd, err := embed.StartEtcd(c)
		started <- result{etcd, err}
	}()
	var r result
	select {
	case r = <-started:
	case <-ctx.Done():
		go func() {
			if late := <-started; late.err == nil {
				late.etcd.Close()
			}
		}()
		return nil, fmt.Errorf("start on %s: %w: does another process use the directory?", c.Dir, ctx.Err())
	}
	if r.err != nil {
		return nil, fmt.Errorf("start on %s: %w", c.Dir, r.err)
	}
	select {
	case <-r.etcd.Server.ReadyNotify():
		return r.etcd, nil
	case err := <-r.etcd.Err():
		r.etcd.Close()
		return nil, fmt.Errorf("start on %s: %w", c.Dir, err)
	case <-ctx.Done():
		r.etcd.Close()
		return nil, fmt.Errorf("start on %s: %w", c.Dir, ctx.Err())
	}
}

// listening are the URLs of what it listens on, the socket first.
func (s *Server) listening() (endpoints []string) {
	for _, l := range s.etcd.Clients {
		if l.Addr().Network() != "unix" {
			endpoints = append(endpoints, "http://"+l.Addr().String())
		}
	}
	slices.Sort(endpoints)
	if s.socket != "" {
		endpoints = slices.Insert(endpoints, 0, "unix://"+s.socket)
	}
	return endpoints
}

// Endpoints are the URLs under which the etcd is reached, the socket's first.
func (s *Server) Endpoints() []string { return slices.Clone(s.endpoints) }

// Stop ends the etcd and removes its socket. The data stays. A second call does nothing.
func (s *Server) Stop() { s.once.Do(s.stop) }

func (s *Server) stop() {
	s.level.SetLevel(zap.DPanicLevel) // it reports each of its listeners that ends as an error
	s.etcd.Close()
	if s.socket != "" {
		_ = os.Remove(s.socket) // gone already, or the next one replaces it
	}
}

// maxSocketPath is the longest path of a unix socket in bytes (unix(7), sun_path less its end).
const maxSocketPath = 107

// A privateSocket is a directory in which a socket is made where nobody else can open it, before it is moved to where
// it belongs: between its making and the change of its mode there is a moment.
type privateSocket struct{ dir string }

func newPrivateSocket(path string) (*privateSocket, error) {
	if path == "" {
		return &privateSocket{}, nil
	}
	parent := filepath.Dir(path)
	if err := os.MkdirAll(parent, 0o700); err != nil {
		return nil, fmt.Errorf("make the socket's directory: %w", err)
	}
	dir, err := os.MkdirTemp(parent, ".")
	if err != nil {
		return nil, fmt.Errorf("make the socket's directory: %w", err)
	}
	p := &privateSocket{dir}
	if longest := max(len(path), len(p.path())); longest > maxSocketPath {
		return nil, errors.Join(fmt.Errorf("socket %s: its path is %d bytes too long for a unix socket: choose a directory with a shorter path",
			path, longest-maxSocketPath), p.remove())
	}
	return p, nil
}

func (p *privateSocket) path() string { return filepath.Join(p.dir, "s") }

// publish moves the socket to its place, over one that a killed process has left there.
func (p *privateSocket) publish(path string) error {
	if p.dir == "" {
		return nil
	}
	if err := os.Chmod(p.path(), 0o600); err != nil {
		return fmt.Errorf("close the socket to others: %w", err)
	}
	if err := os.Rename(p.path(), path); err != nil {
		return fmt.Errorf("put the socket in its place: %w", err)
	}
	return nil
}

func (p *privateSocket) remove() error {
	if p.dir == "" {
		return nil
	}
	return os.RemoveAll(p.dir)
}
