package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"
)

// ErrAway says that no agent listens on the socket, or that it ended before it answered.
var ErrAway = errors.New("no agent answers there")

// redial is the pause between two attempts to reach an agent.
const redial = 50 * time.Millisecond

// Call sends one request with its files to the agent at a socket and returns the answer. While no agent answers it tries again
// for up to wait, and then returns ErrAway. An agent that ends during a request may get it twice, which every request allows. The
// caller keeps the files.
func Call(ctx context.Context, socket string, wait time.Duration, r *Request, files []*os.File) (*Response, error) {
	return CallBy(ctx, func() (CallerConn, error) {
		return net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
	}, socket, wait, r, files)
}

// A CallerConn is a caller's side of a connection to the agent: *net.UnixConn, or what stands for it.
type CallerConn interface {
	net.Conn
	messages
	WriteMsgUnix(b, oob []byte, addr *net.UnixAddr) (n, oobn int, err error)
}

// CallBy is Call by the connections that dial makes, whose errors are as those of connect(2). Socket is what errors name.
func CallBy(ctx context.Context, dial func() (CallerConn, error), socket string, wait time.Duration, r *Request,
	files []*os.File) (*Response, error) {
	r.Version = Version
	message, err := encode(r)
	if err != nil {
		return nil, err
	}
	if len(files) > maxFiles {
		return nil, fmt.Errorf("wire: %d files beside one request: at most %d are allowed", len(files), maxFiles)
	}
	for end := time.Now().Add(wait); ; {
		response, err := exchange(ctx, dial, message, files)
		switch {
		case err == nil:
			return response, nil
		case ctx.Err() != nil:
			return nil, fmt.Errorf("wire: the agent at %s has not answered: %w", socket, ctx.Err())
		case !away(err):
			return nil, fmt.Errorf("wire: ask the agent at %s: %w", socket, err)
		case !time.Now().Before(end):
			return nil, fmt.Errorf("wire: ask the agent at %s: %w (%w): is berthd running?", socket, ErrAway, err)
		}
		select {
		case <-time.After(redial):
		case <-ctx.Done():
		}
	}
}

// away reports whether err is that of an agent that does not run, or has just ended.
func away(err error) bool {
	for _, sign := range []error{
		syscall.ENOENT, syscall.ECONNREFUSED, syscall.EAGAIN, // no listener, or a full accept queue
		io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.EPIPE,
	} {
		if errors.Is(err, sign) {
			return true
		}
	}
	return false
}

func exchange(ctx context.Context, dial func() (CallerConn, error), message []byte, files []*os.File) (*Response, error) {
	conn, err := dial()
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	unsent := send(conn, message, files)
	if unsent != nil && !away(unsent) {
		return nil, unsent
	}
	// An agent that refuses the caller answers without reading: its answer says more than the failed send.
	in := &receiver{conn: conn}
	defer in.close()
	response := new(Response)
	if err := in.message(response); err != nil {
		return nil, cmp.Or(unsent, err)
	}
	return response, nil
}
