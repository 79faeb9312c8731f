package session_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"

	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

// A process is a member of an etcd of the release that BERTH_ETCD names.
type process struct {
	endpoint string
	command  *exec.Cmd
}

// startMembers starts three of them.
func startMembers(l *lab.Lab, program string) []*process {
	l.Helper()
	var all []*process
	var cluster, peers []string
	for i := range 3 {
		peer := "http://" + freeAddress(l)
		peers = append(peers, peer)
		cluster = append(cluster, fmt.Sprintf("e%d=%s", i, peer))
	}
	for i := range 3 {
		p := &process{endpoint: "http://" + freeAddress(l)}
		p.command = exec.Command(program, "--name", fmt.Sprintf("e%d", i), "--data-dir", filepath.Join(l.TempDir(), fmt.Sprint(i)),
			"--listen-peer-urls", peers[i], "--initial-advertise-peer-urls", peers[i], "--listen-client-urls", p.endpoint,
			"--advertise-client-urls", p.endpoint,
			"--initial-cluster", strings.Join(cluster,
				","), "--heartbeat-interval", "50", "--election-timeout", "500", "--unsafe-no-fsync", "--log-level", "error")
		l.Check(p.command.Start())
		l.Cleanup(func() {
			_ = p.command.Process.Kill()
			_ = p.command.Wait()
		})
		all = append(all, p)
	}
	return all
}

func freeAddress(l *lab.Lab) string {
	l.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	l.Check(err)
	defer listener.Close()
	return listener.Addr().String()
}

// A proof is what a read of the session's key has shown.
type proof struct {
	sent  time.Duration
	lives bool
}

// TestAPausedLeaderGivesNoStaleProof stops the leader of a real etcd, of the release that BERTH_ETCD names, for longer than a session
// lasts, ends the session meanwhile by the others, and resumes it: no read that was sent after the end may show
// that the session lives, whoever answers it. Releases below proofFloor can fail here (etcd issue 20418).
func TestAPausedLeaderGivesNoStaleProof(t *testing.T) {
	program := os.Getenv("BERTH_ETCD")
	if program == "" {
		t.Skip("BERTH_ETCD names no etcd: `make e2e-etcd` builds one of the lowest accepted release")
	}
	l := lab.New(t)
	members := startMembers(l, program)
	var stores []*lab.Store
	l.Options.Endpoints = nil
	for _, m := range members {
		l.Options.Endpoints = append(l.Options.Endpoints, m.endpoint)
		stores = append(stores, l.Store(func(o *kv.Options) { o.Endpoints = []string{m.endpoint} }))
	}
	s := l.Store()
	l.Until("the etcd answers", func() bool {
		warnings, err := s.KV.CheckRelease(t.Context())
		return err == nil && len(warnings) == 0
	})
	me := lab.Node("n1")
	resumed := 0
	for round := range 12 {
		x := joins(l, s, me)
		leader := leaderOf(l, members)
		proofs := proveBy(l, stores, x, func() {
			time.Sleep(rand.N(300 * time.Millisecond))
			l.Check(members[leader].command.Process.Signal(syscall.SIGSTOP))
			time.Sleep(record.MinSession + rand.N(time.Second))
		}, func() {
			time.Sleep(rand.N(300 * time.Millisecond))
			l.Check(members[leader].command.Process.Signal(syscall.SIGCONT))
			time.Sleep(time.Second)
		}, survivors(l, members, leader))
		for i, each := range proofs.seen {
			for _, p := range each {
				if p.lives && p.sent > proofs.ended {
					t.Errorf("round %d: member %d (leader %d) shows the session alive to a read that was sent %v after its end", round, i, leader,
						p.sent-proofs.ended)
				}
				if i == leader && p.sent > proofs.ended {
					resumed++
				}
			}
		}
	}
	if resumed == 0 {
		t.Error("no leader that was paused has answered a read after the session's end: nothing is shown")
	}
}

func joins(l *lab.Lab, s *lab.Store, me record.Node) (x *lab.Joined) {
	l.Helper()
	l.Until("the node joins", func() (joined bool) {
		var err error
		x, err = s.Join(l.Context(), me)
		return err == nil
	})
	return x
}

func survivors(l *lab.Lab, members []*process, but int) *clientv3.Client {
	l.Helper()
	var endpoints []string
	for i, m := range members {
		if i != but {
			endpoints = append(endpoints, m.endpoint)
		}
	}
	c, err := clientv3.New(clientv3.Config{Endpoints: endpoints, Logger: zap.NewNop()})
	l.Check(err)
	l.Cleanup(func() { c.Close() })
	return c
}

func leaderOf(l *lab.Lab, members []*process) (at int) {
	l.Helper()
	c := l.Raw()
	l.Until("there is a leader", func() bool {
		at = slices.IndexFunc(members, func(m *process) bool {
			ctx, cancel := context.WithTimeout(l.Context(), kv.TryTime)
			defer cancel()
			status, err := c.Status(ctx, m.endpoint)
			return err == nil && status.Leader == status.Header.MemberId
		})
		return at >= 0
	})
	return at
}

type proofs struct {
	ended time.Duration // when the session's end was answered
	seen  [][]proof     // by member
}

// proveBy reads the session by each member all the time, while the leader is paused, the session ended by the others, and the
// leader resumed.
func proveBy(l *lab.Lab, stores []*lab.Store, x *lab.Joined, pause, resume func(), others *clientv3.Client) *proofs {
	l.Helper()
	ctx, cancel := context.WithCancel(l.Context())
	result := &proofs{seen: make([][]proof, len(stores))}
	var mu sync.Mutex
	var readers sync.WaitGroup
	for i, s := range stores {
		for range 4 {
			readers.Go(func() {
				for ctx.Err() == nil {
					sent := clock.Boottime()
					t := kv.Transact("prove session")
					x.Judge(t)
					if s.KV.Query(ctx, kv.CallTime, t) != nil {
						continue
					}
					mu.Lock()
					result.seen[i] = append(result.seen[i], proof{sent, t.Verdict() == nil})
					mu.Unlock()
				}
			})
		}
	}
	pause()
	l.Until("the others end the session", func() bool {
		ctx, cancel := context.WithTimeout(l.Context(), kv.TryTime)
		defer cancel()
		_, err := others.Delete(ctx, x.Store.KV.Keys.Session(x.Name()))
		return err == nil
	})
	result.ended = x.Store.Sessions.Now()
	resume()
	cancel()
	readers.Wait()
	return result
}
