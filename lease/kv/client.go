package kv

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/berth-ipam/berth/internal/task"
)

// A login is the client that speaks with etcd, and by what it was let in. It is made when it is first needed, since with a
// user's name its making asks etcd; and made anew where etcd does not let it in any more, by the password that the file has then.
type login struct {
	options Options
	network Network

	mu       task.Lock // held while etcd is asked to let in
	closed   bool
	client   Etcd
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
	l := &login{options: o, network: o.Network, mu: task.NewLock()}
	if l.network == nil {
		l.network = newEndpoints(o)
	}
	return l
}

// in is the client.
func (l *login) in(ctx context.Context) (Etcd, error) {
	if err := l.mu.Lock(ctx); err != nil {
		return nil, err
	}
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
	client, err := l.network.Connect(password)
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
func (l *login) out(client Etcd) {
	l.alone(func() {
		if client != nil && l.client == client {
			l.client = nil
			go client.Close() // it waits for what is under way
		}
	})
}

func (l *login) close() error {
	var client Etcd
	l.alone(func() { client, l.client, l.closed = l.client, nil, true })
	if client == nil {
		return nil
	}
	return client.Close()
}

// alone calls f, which is short, under the lock. Whoever has the lock gives it back when etcd lets in, or in CallTime.
func (l *login) alone(f func()) {
	if l.mu.Lock(context.Background()) == nil {
		defer l.mu.Unlock()
		f()
	}
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
