package rtnl

import (
	"errors"
	"fmt"
	"slices"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// A Socket speaks rtnetlink with the kernel of the network namespace in which it was opened. It serves one caller at
// a time. The kernel answers before the send returns, so nothing ever waits for an answer.
type Socket struct {
	fd     int
	seq    uint32
	buffer []byte
	broken bool // answers may have been lost: of no more use
}

// OpenSocket opens a socket in the network namespace of the calling thread.
func OpenSocket() (*Socket, error) { return OpenSocketOf(unix.NETLINK_ROUTE) }

// OpenSocketOf opens one that speaks another of netlink's protocols.
func OpenSocketOf(protocol int) (*Socket, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err != nil {
		return nil, fmt.Errorf("open netlink socket: %w", err)
	}
	// The kernel's own words in errors; short acknowledgements; dumps filtered by the kernel. Older kernels know
	// none or some of them, and nothing here depends on them but for speed and words.
	for _, option := range [...]int{unix.NETLINK_EXT_ACK, unix.NETLINK_CAP_ACK, unix.NETLINK_GET_STRICT_CHK} {
		_ = unix.SetsockoptInt(fd, unix.SOL_NETLINK, option, 1)
	}
	return &Socket{fd: fd, buffer: make([]byte, 1<<16)}, nil
}

// Close closes it.
func (s *Socket) Close() { unix.Close(s.fd) }

// batch bounds the messages of one send, so that their acknowledgements fit into the smallest receive buffer.
const batch = 64

// Do sends requests in order, as few sends as it takes, and returns the first error. A request after a failed one has been
// carried out nevertheless: the caller undoes all.
func (s *Socket) Do(requests ...Request) error {
	for chunk := range slices.Chunk(requests, batch) {
		if err := s.exchange(chunk, nil); err != nil {
			return err
		}
	}
	return nil
}

// Each sends requests in order, as few sends as it takes, and answers with what became of each. An error of its own says that what
// became of the rest is unknown.
func (s *Socket) Each(requests ...Request) (outcomes []error, err error) {
	for chunk := range slices.Chunk(requests, batch) {
		errs, err := s.outcomes(chunk, nil)
		if err != nil {
			return outcomes, err
		}
		outcomes = append(outcomes, errs...)
	}
	return outcomes, nil
}

// Get sends requests in one go and hands each answer's body to got, which must not keep it.
func (s *Socket) Get(got func(kind uint16, body []byte), requests ...Request) error {
	return s.exchange(requests, got)
}

// dumpTries bounds how often a dump that changes under its reader is begun again.
const dumpTries = 20

var errInterrupted = errors.New("the kernel's list kept changing while it was read")

// dump asks for a list, again while it changes under the reader; begin is called before each try.
func (s *Socket) dump(
	kind int, what string, begin func(), got func(kind uint16, body []byte), parts ...nl.NetlinkRequestData,
) error {
	var err error
	for range dumpTries {
		begin()
		r := ask(kind, unix.NLM_F_DUMP, what, parts...)
		r.Flags &^= unix.NLM_F_ACK
		if err = s.exchange([]Request{r}, got); !errors.Is(err, errInterrupted) && !errors.Is(err, unix.EINTR) {
			return err
		}
	}
	return err
}

func (s *Socket) exchange(requests []Request, got func(kind uint16, body []byte)) error {
	errs, err := s.outcomes(requests, got)
	if err != nil {
		return err
	}
	for i, err := range errs {
		if err != nil {
			return fmt.Errorf("%s: %w", requests[i].What, err)
		}
	}
	return nil
}

// outcomes sends requests in one go and answers with what became of each. An error of its own says that this is unknown.
func (s *Socket) outcomes(requests []Request, got func(kind uint16, body []byte)) ([]error, error) {
	first := s.seq + 1
	var out []byte
	for _, r := range requests {
		s.seq++
		r.Seq = s.seq
		out = appendMessage(out, r.NetlinkRequest)
	}
	if err := s.send(out); err != nil {
		return nil, fmt.Errorf("%s: %w", requests[0].What, err)
	}
	errs := make([]error, len(requests))
	for left := len(requests); left > 0; {
		messages, err := s.receive()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", requests[0].What, err)
		}
		for _, m := range messages {
			i := int(m.Header.Seq - first)
			if i < 0 || i >= len(requests) {
				continue
			}
			if m.Header.Flags&unix.NLM_F_DUMP_INTR != 0 {
				errs[i] = errInterrupted
			}
			switch m.Header.Type {
			case unix.NLMSG_ERROR, unix.NLMSG_DONE:
				left--
				if err := outcome(m); err != nil && !(requests[i].Lenient && errors.Is(err, unix.EEXIST)) {
					errs[i] = err
				}
			default:
				if got != nil {
					got(m.Header.Type, m.Data)
				}
			}
		}
	}
	return errs, nil
}

// appendMessage puts a message behind others, which begins where the kernel looks for it.
func appendMessage(out []byte, m *nl.NetlinkRequest) []byte {
	out = append(out, m.Serialize()...)
	for len(out)%unix.NLMSG_ALIGNTO != 0 {
		out = append(out, 0)
	}
	return out
}

func (s *Socket) send(message []byte) error {
	for {
		err := unix.Sendto(s.fd, message, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK})
		if err != unix.EINTR {
			return err
		}
	}
}

func (s *Socket) receive() ([]syscall.NetlinkMessage, error) {
	for {
		n, _, err := unix.Recvfrom(s.fd, s.buffer, unix.MSG_TRUNC)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			s.broken = true
			return nil, fmt.Errorf("receive: %w", err)
		case n > len(s.buffer):
			s.broken = true
			return nil, fmt.Errorf("an answer of %d bytes: at most %d are expected", n, len(s.buffer))
		}
		return syscall.ParseNetlinkMessage(s.buffer[:n])
	}
}

// outcome reads the message that ends an answer: nil, or the kernel's error with its own words where it has any.
func outcome(m syscall.NetlinkMessage) error {
	if len(m.Data) < 4 {
		return nil
	}
	code := int32(native.Uint32(m.Data))
	if code >= 0 { // of a dump it may be a count
		return nil
	}
	errno := unix.Errno(-code)
	if m.Header.Type == unix.NLMSG_ERROR && m.Header.Flags&unix.NLM_F_ACK_TLVS != 0 && len(m.Data) > 4+unix.NLMSG_HDRLEN {
		for kind, value := range Attributes(m.Data[4+unix.NLMSG_HDRLEN:]) {
			if kind == unix.NLMSGERR_ATTR_MSG {
				return fmt.Errorf("%w (%s)", errno, Text(value))
			}
		}
	}
	return errno
}
