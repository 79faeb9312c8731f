package kv_test

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// withUsers makes the lab's etcd, which must be its own, want to know who asks: root, with that password.
func withUsers(l *lab.Lab, password string) {
	l.Helper()
	raw := l.Raw()
	_, err := raw.UserAdd(l.Context(), "root", password)
	l.Check(err)
	_, err = raw.UserGrantRole(l.Context(), "root", "root")
	l.Check(err)
	_, err = raw.AuthEnable(l.Context())
	l.Check(err)
}

func TestEtcdsOwnUsersAreServed(t *testing.T) {
	l := lab.New(t)
	l.Own()
	withUsers(l, "secret")
	if _, err := l.Store().Config.Read(t.Context()); err == nil {
		t.Error("a stranger was served")
	}
	wrong := writeFile(l, "wrong", "public\n")
	if _, err := l.Store(func(o *kv.Options) { o.User, o.PasswordFile = "root", wrong }).Config.Read(t.Context()); err == nil {
		t.Error("a wrong password was good enough")
	}
	password := writeFile(l, "password", "secret\n")
	s := l.Store(func(o *kv.Options) { o.User, o.PasswordFile = "root", password })
	config := l.Apply(s, lab.Smallest())
	l.Reserve(l.Join(s, "n1"), lab.Asking(config, "default", lab.Identity("db", 0), "c1"))
}

// A counter counts the calls of one kind that a store sends.
type counter struct {
	method string
	calls  atomic.Int64
}

func (c *counter) watch(s *lab.Store) {
	s.KV.DialWith(grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn,
		invoke grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		if strings.HasSuffix(method, c.method) {
			c.calls.Add(1)
		}
		return invoke(ctx, method, req, reply, cc, opts...)
	}))
}

// A quiet prover counts the proofs.
type countingProver struct{ proofs atomic.Int64 }

func (p *countingProver) Arm() error { return nil }

func (p *countingProver) Proven(time.Duration) { p.proofs.Add(1) }

func TestASessionIsRenewedWithoutLoggingInAnew(t *testing.T) {
	l := lab.New(t)
	l.Own()
	withUsers(l, "secret")
	logins := &counter{method: "/Authenticate"}
	s := openAs(l, "root", "secret")
	logins.watch(s)
	me := lab.Node("n1")
	me.Session = allocator.Duration(record.MinSession) // renewed every 0.4 s
	x, err := s.Join(t.Context(), me)
	l.Check(err)
	var prover countingProver
	l.Beside(func(ctx context.Context) { _ = x.Keep(ctx, &prover) })
	l.Until("the session is proven for the first time", func() bool { return prover.proofs.Load() > 0 })
	before := logins.calls.Load()
	l.Until("and ten times more", func() bool { return prover.proofs.Load() > 10 })
	if more := logins.calls.Load() - before; more > 0 {
		t.Errorf("for ten renewals the client has logged in %d times: want not once", more)
	}
}

// openAs is a store of an etcd user's.
func openAs(l *lab.Lab, user, password string, change ...func(*kv.Options)) *lab.Store {
	l.Helper()
	file := writeFile(l, user, password+"\n")
	return l.Store(append(change, func(o *kv.Options) { o.User, o.PasswordFile = user, file })...)
}

func TestAPasswordThatIsChangedIsReadAgain(t *testing.T) {
	l := lab.New(t)
	l.Own()
	withUsers(l, "secret")
	var told refusals
	s := openAs(l, "root", "secret", func(o *kv.Options) { o.Access = told.tell })
	_, err := s.Config.Read(t.Context())
	l.Check(err)
	admin, err := clientv3.New(clientv3.Config{Endpoints: l.Options.Endpoints, Username: "root", Password: "secret", Logger: zap.NewNop()})
	l.Check(err)
	defer admin.Close()
	_, err = admin.UserChangePassword(t.Context(), "root", "another")
	l.Check(err)
	logins := &counter{method: "/Authenticate"}
	logins.watch(s)
	for range 20 {
		if _, err = s.Config.Read(t.Context()); !kv.Refused(err) {
			t.Fatalf("by the former password it is answered with %v", err)
		}
	}
	if n := logins.calls.Load(); n > 3 {
		t.Errorf("etcd was asked to let in %d times by a password that it has refused: want pauses", n)
	}
	if got := told.list(); len(got) != 1 || !strings.HasPrefix(got[0], kv.TheUser+": ") {
		t.Errorf("told %q: want it once, of the user", got)
	}
	l.Check(os.WriteFile(s.KV.Options().PasswordFile, []byte("another"), 0o600))
	l.Until("it is let in by the password that the file has now", func() bool {
		_, err := s.Config.Read(t.Context())
		return err == nil
	})
	if got := told.list(); len(got) != 2 || got[1] != kv.TheUser+": <nil>" {
		t.Errorf("told %q: want the end of it, too", got)
	}
}

// refusals keeps what a store tells of its access.
type refusals struct {
	mu   sync.Mutex
	told []string
}

func (r *refusals) tell(what string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, fmt.Sprintf("%s: %v", what, err))
}

func (r *refusals) list() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.told)
}

// roles carries out the etcdctl commands of docs/etcd.md, and makes a user of each role, with its name as the password.
func roles(l *lab.Lab) (names []string) {
	l.Helper()
	manual, err := os.ReadFile("../../docs/etcd.md")
	l.Check(err)
	raw := l.Raw()
	for line := range strings.Lines(string(manual)) {
		words := strings.Fields(line)
		switch {
		case len(words) == 4 && words[0] == "etcdctl" && words[2] == "add":
			_, err = raw.RoleAdd(l.Context(), words[3])
			names = append(names, words[3])
		case len(words) > 3 && words[0] == "etcdctl" && words[2] == "grant-permission":
			words, end := words[3:], ""
			if words[0] == "--prefix" {
				words, end = words[1:], clientv3.GetPrefixRangeEnd(words[3])
			}
			kind := clientv3.PermissionType(clientv3.PermRead)
			if words[1] == "readwrite" {
				kind = clientv3.PermissionType(clientv3.PermReadWrite)
			}
			_, err = raw.RoleGrantPermission(l.Context(), words[0], words[2], end, kind)
		}
		l.Check(err)
	}
	for _, role := range names {
		_, err := raw.UserAdd(l.Context(), role, role)
		l.Check(err)
		_, err = raw.UserGrantRole(l.Context(), role, role)
		l.Check(err)
	}
	return names
}

func TestEachRoleOfTheManualCanDoItsWorkAndNoMore(t *testing.T) {
	l := lab.New(t)
	l.Own()
	l.Options.Prefix = kv.DefaultPrefix
	if names := roles(l); !slices.Equal(names, []string{"berth-agent", "berth-operator", "berth-viewer"}) {
		t.Fatalf("the manual has the roles %q", names)
	}
	withUsers(l, "secret")
	operator, agent := openAs(l, "berth-operator", "berth-operator"), openAs(l, "berth-agent", "berth-agent")
	viewer := openAs(l, "berth-viewer", "berth-viewer")
	config := l.Apply(operator, lab.Smallest())

	_, err := agent.Sessions.Handshake(t.Context(), "n1", lab.Node("n1").Machine, session.Past{})
	l.Check(err)
	x := l.Join(agent, "n1")
	var prover countingProver
	l.Beside(func(ctx context.Context) { _ = x.Keep(ctx, &prover) })
	l.Until("the agent's session is proven", func() bool { return prover.proofs.Load() > 0 })
	l.Reserve(x, lab.Asking(config, "default", lab.Identity("db", 0), "c1"))
	_, err = block.Claim(t.Context(), x.Session, "default", config.PoolRevisions["default"], lab.Prefix("10.42.64.0/26"))
	l.Check(err)

	for what, read := range map[string]func(*lab.Store) error{
		"nodes":        func(s *lab.Store) error { _, err := s.Sessions.Nodes(t.Context()); return err },
		"blocks":       func(s *lab.Store) error { _, err := s.Blocks.List(t.Context()); return err },
		"reservations": func(s *lab.Store) error { _, err := s.Reservations.List(t.Context()); return err },
		"the version":  func(s *lab.Store) error { _, err := s.Config.Read(t.Context()); return err },
	} {
		l.Check(read(viewer))
		if err := read(l.Store()); !kv.Refused(err) {
			t.Errorf("somebody without a name reads %s: %v", what, err)
		}
	}
	for who, s := range map[string]*lab.Store{"the viewer": viewer, "the agent": agent} {
		client, err := s.KV.Etcd(t.Context())
		l.Check(err)
		put := clientv3.OpPut(s.KV.Keys.Settings(), "{}")
		if _, err := client.Txn(t.Context()).Then(put).Commit(); !kv.Refused(err) {
			t.Errorf("%s changes the settings: %v", who, err)
		}
	}
	if _, err := viewer.Join(t.Context(), lab.Node("n2")); !kv.Refused(err) {
		t.Errorf("the viewer joins as a node: %v", err)
	}
}

func TestARevokedPermissionIsReportedOnceAndItsReturnToo(t *testing.T) {
	l := lab.New(t)
	l.Own()
	l.Options.Prefix = kv.DefaultPrefix
	roles(l)
	withUsers(l, "secret")
	var told refusals
	agent := openAs(l, "berth-agent", "berth-agent", func(o *kv.Options) { o.Access = told.tell })
	admin, err := clientv3.New(clientv3.Config{Endpoints: l.Options.Endpoints, Username: "root", Password: "secret", Logger: zap.NewNop()})
	l.Check(err)
	defer admin.Close()
	_, err = admin.UserRevokeRole(t.Context(), "berth-agent", "berth-agent")
	l.Check(err)
	for range 3 {
		if _, err := agent.Blocks.List(t.Context()); !kv.Refused(err) {
			t.Fatalf("without a role the blocks are read: %v", err)
		}
	}
	if got := told.list(); len(got) != 1 || !strings.HasPrefix(got[0], "read /berth/v1/blocks: ") ||
		!strings.Contains(got[0], "permission denied") {
		t.Errorf("told %q: want once that the blocks cannot be read", got)
	}
	_, err = admin.UserGrantRole(t.Context(), "berth-agent", "berth-agent")
	l.Check(err)
	_, err = agent.Blocks.List(t.Context())
	l.Check(err)
	if got := told.list(); len(got) != 2 || got[1] != "read /berth/v1/blocks: <nil>" {
		t.Errorf("told %q: want the end of it, too", got)
	}
}
