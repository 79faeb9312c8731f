package wire

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"
)

// ReceiveTime bounds how long a caller may take to send its request, so that a stuck one holds nothing up.
const ReceiveTime = 10 * time.Second

// sendTime bounds how long a caller may take to read its answer.
const sendTime = 10 * time.Second

// A Conn is an agent's side of a caller's connection, which brings files as unix(7) has them: *net.UnixConn, or what stands for it.
type Conn interface {
	net.Conn
	messages
}

// Receive reads one request and its files, which the caller must close. All of it has to come within the time, and claim,
// if there is one, may end it before. The error is an Error that may be replied; no file is left open then.
func Receive(conn Conn, within time.Duration, claim Claim) (*Request, []*os.File, error) {
	if err := conn.SetReadDeadline(time.Now().Add(within)); err != nil {
		return nil, nil, Errorf(CodeIO, "receive a request: %w", err)
	}
	in := &receiver{conn: conn, claim: claim}
	r := new(Request)
	err := in.message(r)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = fmt.Errorf("it has not come whole within %v", within)
	}
	if err := acceptable(r, err); err != nil {
		in.close()
		return nil, nil, err
	}
	if err := conn.SetReadDeadline(time.Time{}); err != nil {
		in.close()
		return nil, nil, Errorf(CodeIO, "receive a request: %w", err)
	}
	return r, in.files, nil
}

// acceptable says what is wrong with a request, given the error of decoding it. An unsupported version comes first, because it
// explains why something could not be decoded.
func acceptable(r *Request, decoding error) error {
	ours, decoded := errors.AsType[*Error](decoding)
	switch {
	case decoding != nil && !decoded:
		return Errorf(CodeIO, "receive a request: %w", decoding)
	case r.Version > Version, decoding == nil && r.Version < 1:
		return Errorf(CodeVersion, "the request is of protocol version %d: this agent serves 1 to %d; upgrade the older of the two", r.Version,
			Version)
	case decoding != nil:
		return ours
	}
	return nil
}

// Reply sends the answer to a request.
func Reply(conn net.Conn, r *Response) error {
	if err := conn.SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
		return err
	}
	r.Version = Version
	message, err := encode(r)
	if err != nil { // too long: an error is better than no answer
		if message, err = encode(&Response{Version: Version,
			Error: Errorf(CodeOperation, "the answer cannot be sent: %w; ask for fewer containers at once", err)}); err != nil {
			return err
		}
	}
	if _, err := conn.Write(message); err != nil {
		return fmt.Errorf("wire: answer: %w", err)
	}
	return nil
}

// UntilGone is a context that ends when the caller hangs up, at the latest when conn is closed. Nothing else may read
// from conn meanwhile.
func UntilGone(parent context.Context, conn net.Conn) context.Context {
	ctx, cancel := context.WithCancel(parent)
	go func() {
		var b [1]byte
		_, _ = conn.Read(b[:]) // returns when either side closes
		cancel()
	}()
	return ctx
}

// Peer is the process at the other end: its uid as this process's user namespace knows it (SO_PEERCRED, unix(7)).
func Peer(conn *net.UnixConn) (uid, pid int, err error) {
	raw, err := conn.SyscallConn()
	if err != nil {
		return -1, 0, err
	}
	var cred *syscall.Ucred
	if failed := raw.Control(func(fd uintptr) {
		cred, err = syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
	}); failed != nil {
		return -1, 0, failed
	}
	if err != nil {
		return -1, 0, fmt.Errorf("wire: peer credentials: %w", err)
	}
	return int(cred.Uid), int(cred.Pid), nil
}
