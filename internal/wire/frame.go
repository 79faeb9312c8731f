package wire

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
)

const (
	maxMessage  = 4 << 20 // bytes of one message: 1,000 containers with all that they may carry
	maxFiles    = 1000    // files beside one request
	filesAtOnce = 250     // files in one datagram of control data; the kernel takes at most 253 (SCM_MAX_FD)
)

// A message is its length in four bytes, most significant first, and its JSON. Files are sent with the first bytes, up to
// filesAtOnce with each.

func encode(message any) ([]byte, error) {
	text, err := json.Marshal(message)
	if err != nil {
		return nil, fmt.Errorf("wire: encode: %w", err)
	}
	if len(text) > maxMessage {
		return nil, fmt.Errorf("wire: a message of %d bytes: at most %d are allowed", len(text), maxMessage)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...), nil
}

// send writes a message and its files. The last files come with all the rest, so that the agent is woken once.
func send(conn CallerConn, message []byte, files []*os.File) error {
	for some := range slices.Chunk(files, filesAtOnce) {
		fds := make([]int, len(some))
		for i, f := range some {
			fds[i] = int(f.Fd())
		}
		files = files[len(some):]
		data := message[:1] // an encoded message has more bytes than a request may have chunks of files
		if len(files) == 0 {
			data = message
		}
		n, _, err := conn.WriteMsgUnix(data, syscall.UnixRights(fds...), nil)
		if err != nil {
			return fmt.Errorf("send files: %w", err)
		}
		message = message[n:]
	}
	if len(message) == 0 {
		return nil
	}
	_, err := conn.Write(message)
	return err
}

// A Claim is called before so many more bytes of a message are read, and after so many more files have come. Its error ends the
// reading.
type Claim func(bytes, files int) error

// messages are what a receiver needs of a connection.
type messages interface {
	ReadMsgUnix(b, oob []byte) (n, oobn, flags int, addr *net.UnixAddr, err error)
}

// A receiver reads a connection and collects the files that come with the bytes.
type receiver struct {
	conn  messages
	claim Claim // nil: no limit
	files []*os.File
}

func (r *receiver) ask(bytes, files int) error {
	if r.claim == nil || bytes+files == 0 {
		return nil
	}
	return r.claim(bytes, files)
}

func (r *receiver) Read(p []byte) (int, error) {
	control := make([]byte, syscall.CmsgSpace(filesAtOnce*4))
	n, controlled, flags, _, err := r.conn.ReadMsgUnix(p, control)
	if err != nil {
		return n, err
	}
	former := len(r.files)
	if err := r.gather(control[:controlled]); err != nil {
		return n, err
	}
	if err := r.ask(0, len(r.files)-former); err != nil {
		return n, err
	}
	if flags&syscall.MSG_CTRUNC != 0 {
		return n, errors.New("files were lost on the way")
	}
	if n == 0 {
		return 0, io.EOF
	}
	return n, nil
}

func (r *receiver) gather(control []byte) error {
	messages, err := syscall.ParseSocketControlMessage(control)
	if err != nil {
		return err
	}
	for _, m := range messages {
		fds, err := syscall.ParseUnixRights(&m)
		if err != nil {
			continue // not files
		}
		for _, fd := range fds {
			r.files = append(r.files, os.NewFile(uintptr(fd), fmt.Sprintf("file %d of the request", len(r.files)+1)))
		}
	}
	if len(r.files) > maxFiles {
		return fmt.Errorf("more than %d files", maxFiles)
	}
	return nil
}

func (r *receiver) close() {
	for _, f := range r.files {
		f.Close()
	}
	r.files = nil
}

// message reads and decodes one message. What cannot be decoded is an Error of CodeDecode; the rest is decoded.
func (r *receiver) message(into any) error {
	var length [4]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(length[:])
	if n > maxMessage {
		return Errorf(CodeDecode, "a message of %d bytes: at most %d are allowed", n, maxMessage)
	}
	if err := r.ask(int(n), 0); err != nil {
		return err
	}
	text := make([]byte, n)
	if _, err := io.ReadFull(r, text); err != nil {
		return err
	}
	if err := json.Unmarshal(text, into); err != nil {
		if r, ok := into.(*Request); ok && r.Version == 0 { // the version may follow what could not be decoded
			_ = json.Unmarshal(text, &struct{ Version *int }{&r.Version})
		}
		if ours, ok := errors.AsType[*Error](err); ok {
			return ours
		}
		return Errorf(CodeDecode, "the message is not what the protocol says: %w", err)
	}
	return nil
}
