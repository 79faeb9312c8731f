package watch

import (
	"context"
	"errors"
	"fmt"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/e2e/faults/check"
)

// listen tells of each answer until ctx ends.
func (w *Watcher) listen(ctx context.Context) error {
	frame, control := make([]byte, 2048), make([]byte, 256)
	for ctx.Err() == nil {
		n, oob, _, _, err := unix.Recvmsg(w.socket, frame, control, 0)
		if errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return fmt.Errorf("watch: receive: %w", err)
		}
		at := w.clock() - waited(control[:oob])
		if s, ok := w.sighting(frame[:n], at); ok {
			w.heard(s)
		}
	}
	return nil
}

// sighting makes out which request a frame answers: the latest of its slot that was sent before it came.
func (w *Watcher) sighting(frame []byte, at time.Duration) (s check.Sighting, ok bool) {
	a, ok := w.wire.answered(frame)
	if !ok {
		return s, false
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.byName[a.address]
	if t == nil {
		return s, false
	}
	s = check.Sighting{Sent: t.sent[a.slot], At: at, Address: a.address, MAC: a.by, Via: a.via}
	if s.Sent > at {
		s.Sent = t.former[a.slot]
	} else {
		t.due[a.slot], t.holder = check.MAC{}, a.by
	}
	delete(w.missed, question{s.Sent, a.address})
	w.answers++
	t.until = w.clock() + interest
	return s, s.Sent > 0
}

// waited is how long a frame lay in the socket, by the kernel's timestamp of its coming.
func waited(control []byte) time.Duration {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		return 0
	}
	for _, m := range messages {
		if m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SCM_TIMESTAMPNS && len(m.Data) >= int(unsafe.Sizeof(unix.Timespec{})) {
			came := (*unix.Timespec)(unsafe.Pointer(&m.Data[0]))
			return max(0, time.Since(time.Unix(came.Unix())))
		}
	}
	return 0
}
