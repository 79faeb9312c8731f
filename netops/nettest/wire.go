package nettest

import (
	"encoding/binary"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A Wire records the frames that pass a link.
type Wire struct {
	mu     sync.Mutex
	frames [][]byte
}

// Tap begins to record the frames of a link of a namespace, until the end of the test.
func Tap(t testing.TB, s Space, link string) *Wire {
	t.Helper()
	index := s.LinkAt(link).Attrs().Index
	var socket *os.File
	s.Do(func() error {
		all := binary.BigEndian.AppendUint16(nil, unix.ETH_P_ALL)
		fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, int(binary.NativeEndian.Uint16(all)))
		if err != nil {
			return err
		}
		socket = os.NewFile(uintptr(fd), "wire")
		return unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(all), Ifindex: index})
	})
	t.Cleanup(func() { socket.Close() })
	w := &Wire{}
	go func() {
		buffer := make([]byte, 1<<16)
		for {
			n, err := socket.Read(buffer)
			if err != nil {
				return
			}
			w.mu.Lock()
			w.frames = append(w.frames, append([]byte(nil), buffer[:n]...))
			w.mu.Unlock()
		}
	}()
	return w
}

// Frames are what has passed until now.
func (w *Wire) Frames() [][]byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([][]byte(nil), w.frames...)
}

// Passed waits until a frame has passed of which is says that it is the one.
func (w *Wire) Passed(t testing.TB, is func(frame []byte) bool) {
	t.Helper()
	Eventually(t, "a frame passes", func() bool {
		for _, f := range w.Frames() {
			if is(f) {
				return true
			}
		}
		time.Sleep(time.Millisecond)
		return false
	})
}
