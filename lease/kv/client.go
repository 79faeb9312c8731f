package kv

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// A login is the client that speaks with etcd, and by what it was let in. It is made when it is first needed, since with a
// user's name its making asks etcd; and made anew where etcd does not let it in any more, by the password that the file has then.
type login struct {
	options Options
	dial    []grpc.DialOption

	mu       sync.Mutex
	closed   bool
	client   *clientv3.Client
	refused  error         // why etcd let nobody in by password; nil: it did
	password string        // the one it was about
	wait     time.Duration // how long etcd is not asked again for the same password: it takes much of its time
	again    time.Time     // when it is
}

// Bounds of the pause before etcd is asked again to let in by a password that it has refused.
const (
	firstLogin = time.Second
	lastLogin  = 30 * time.Second
)

func newLogin(o Options) *login {
	l := &login{options: o}
	l.dial = []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
		// grpc's own waits grow to two minutes: too long after a restart of etcd.
		Backoff:           backoff.Config{BaseDelay: 50 * time.Millisecond, Multiplier: 1.6, Jitter: 0.2, MaxDelay: time.Second},
		MinConnectTimeout: CallTime,
	})}
	if o.secure() {
		l.dial = append(l.dial, grpc.WithTransportCredentials(newTransport(o)))
	}
	return l
}

// in is the client.
func (l *login) in() (*clientv3.Client, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.client != nil {
		return l.client, nil
	}
	if l.closed {
		return nil, errors.New("lease: the store is closed")
	}
	password, err := l.options.password()
	if err != nil {
		return nil, fmt.Errorf("lease: %w", err)
	}
	if l.refused != nil && password == l.password && time.Now().Before(l.again) {
		return nil, l.refused
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: l.options.Endpoints, Username: l.options.User, Password: password, Logger: zap.NewNop(),
		DialTimeout: CallTime, DialKeepAliveTime: 2 * CallTime, DialKeepAliveTimeout: CallTime, DialOptions: l.dial,
	})
	switch {
	case err == nil:
		l.client, l.refused, l.wait = client, nil, 0
		return client, nil
	case unauthenticated(err):
		if password != l.password {
			l.wait = 0
		}
		l.wait = min(max(2*l.wait, firstLogin), lastLogin)
		l.again, l.password = time.Now().Add(l.wait), password
		l.refused = fmt.Errorf("lease: etcd at %s does not let user %q in: %w", strings.Join(l.options.Endpoints, ", "), l.options.User, err)
		return nil, l.refused
	}
	return nil, fmt.Errorf("lease: reach etcd at %s: %w", strings.Join(l.options.Endpoints, ", "), err)
}

// out lets go of a client that etcd lets in no more: the password may be another by now. What it has under way ends.
func (l *login) out(client *clientv3.Client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if client != nil && l.client == client {
		l.client = nil
		go client.Close() // it waits for what is under way
	}
}

func (l *login) close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.closed = true
	if l.client == nil {
		return nil
	}
	client := l.client
	l.client = nil
	return client.Close()
}

// unauthenticated reports that etcd does not let this user in.
func unauthenticated(err error) bool {
	for _, known := range []error{
		rpctypes.ErrAuthFailed, rpctypes.ErrInvalidAuthToken, rpctypes.ErrUserEmpty, rpctypes.ErrUserNotFound, rpctypes.ErrAuthOldRevision,
	} {
		if errors.Is(err, known) {
			return true
		}
	}
	return codeOf(err) == codes.Unauthenticated
}

// Refused reports that etcd answers, and does not let this process in or does not let it do what it asked for: a person has to
// change something, so that asking again soon is of no use.
func Refused(err error) bool {
	return unauthenticated(err) || codeOf(err) == codes.PermissionDenied
}

// codeOf is the code of an error of etcd's, or of grpc's own.
func codeOf(err error) codes.Code {
	if e, ok := errors.AsType[rpctypes.EtcdError](err); ok {
		return e.Code()
	}
	return status.Code(err)
}
