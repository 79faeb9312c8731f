package echo

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

// A Request is for one echo.
type Request struct {
	From  *os.File // the network namespace
	Link  string   // over which link; empty: as the routes say
	To    netip.Addr
	Size  int           // of the whole packet with its IP header, in bytes; less than a header and a mark is made so much
	Tries int           // how often it is sent
	Wait  time.Duration // for the answer of each
}

// ErrNoAnswer says that nothing came back.
var ErrNoAnswer = errors.New("no answer")

// A TooBigError says that a packet of this size does not pass.
type TooBigError struct {
	By  netip.Addr // who said so; zero: the own kernel
	MTU int        // what would pass, in bytes; 0: it is not said
}

func (e *TooBigError) Error() string {
	who := "the own interface or route"
	if e.By.IsValid() {
		who = e.By.String()
	}
	if e.MTU == 0 {
		return who + " lets no packet of this size pass"
	}
	return fmt.Sprintf("%s lets packets of at most %d bytes pass", who, e.MTU)
}

// A RefusedError says that somebody on the way, or the own kernel, knows no way.
type RefusedError struct {
	By   netip.Addr // zero: the own kernel
	Text string
}

func (e *RefusedError) Error() string {
	if e.By.IsValid() {
		return fmt.Sprintf("%s says: %s", e.By, e.Text)
	}
	return "the own kernel says: " + e.Text
}

// marks distinguishes the requests of this process.
var marks atomic.Uint32

// Ask sends requests until one is answered: nil. It fails with ErrNoAnswer, with *TooBigError, which is the end of trying, with
// *RefusedError where each try was answered so or not at all, or where the socket does.
func Ask(ctx context.Context, r Request) error {
	socket, err := open(r)
	if err != nil {
		return fmt.Errorf("ask %s for an echo: %w", r.To, err)
	}
	defer unix.Close(socket)
	a := &asking{Request: r, socket: socket, mark: uint32(os.Getpid())<<16 | marks.Add(1)&0xffff}
	outcome := ErrNoAnswer
	for n := range r.Tries {
		err := a.try(ctx, uint16(n))
		if _, tooBig := errors.AsType[*TooBigError](err); err == nil || tooBig || ctx.Err() != nil {
			return err
		}
		if !errors.Is(err, ErrNoAnswer) {
			outcome = err
		}
	}
	return outcome
}

// An asking is a request under way.
type asking struct {
	Request
	socket int
	mark   uint32
}

// open opens a socket that sends no fragments, of whatever the kernel has learnt of the path (ip(7), ipv6(7)).
func open(r Request) (socket int, err error) {
	err = rtnl.Within(r.From, func() error {
		if r.To.Is4() {
			socket, err = unix.Socket(unix.AF_INET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMP)
		} else {
			socket, err = unix.Socket(unix.AF_INET6, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, unix.IPPROTO_ICMPV6)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	if r.To.Is4() {
		err = unix.SetsockoptInt(socket, unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE)
	} else {
		err = errors.Join(unix.SetsockoptInt(socket, unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE),
			unix.SetsockoptInt(socket, unix.IPPROTO_IPV6, unix.IPV6_DONTFRAG, 1))
	}
	if err == nil && r.Link != "" {
		err = unix.BindToDevice(socket, r.Link)
	}
	if err != nil {
		unix.Close(socket)
		return 0, err
	}
	return socket, nil
}

// try sends one request, and waits for its answer.
func (a *asking) try(ctx context.Context, sequence uint16) error {
	to := unix.Sockaddr(&unix.SockaddrInet6{Addr: a.To.As16()})
	if a.To.Is4() {
		to = &unix.SockaddrInet4{Addr: a.To.As4()}
	}
	end := time.Now().Add(a.Wait)
	switch err := unix.Sendto(a.socket, message(a.To, a.mark, sequence, a.Size), 0, to); {
	case errors.Is(err, unix.EMSGSIZE):
		return &TooBigError{}
	case err != nil:
		a.await(ctx, end) // as if it had been lost: it may go better the next time
		return &RefusedError{Text: err.Error()}
	}
	return a.await(ctx, end)
}

// await reads until an answer comes, or the time is over. What has come in time is read also where this program was not run in time.
func (a *asking) await(ctx context.Context, end time.Time) error {
	const slice = 100 * time.Millisecond // in which the end of ctx is seen
	outcome := ErrNoAnswer
	buffer := make([]byte, 1<<16)
	for ctx.Err() == nil {
		left := max(min(time.Until(end), slice), 0)
		fds := []unix.PollFd{{Fd: int32(a.socket), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, int(left.Milliseconds()))
		if err != nil && !errors.Is(err, unix.EINTR) {
			return err
		}
		if n <= 0 {
			if time.Now().After(end) {
				return outcome
			}
			continue
		}
		got, from, err := unix.Recvfrom(a.socket, buffer, 0)
		if err != nil {
			continue // what an earlier packet met: the answer itself tells it, too
		}
		switch answer, ours := a.read(buffer[:got], from); {
		case !ours:
		case answer == nil:
			return nil
		default:
			if _, tooBig := errors.AsType[*TooBigError](answer); tooBig {
				return answer
			}
			outcome = answer // there may be a better one
		}
	}
	return ctx.Err()
}
