package faults

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/e2e/lab"
)

// A tally is how often a kind of fault was carried out, and how often its effect was seen: on the kernel, a process or
// etcd, not on Berth.
type tally struct{ done, seen int }

// shows enters whether a fault that is carried out has an effect.
func (w *world) shows(k Kind, missing error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	t := w.struck[k]
	t.done++
	if missing == nil {
		t.seen++
	} else {
		w.counted[fmt.Sprintf("%s without effect: %.150v", k, missing)]++
	}
	w.struck[k] = t
}

// idle names the kinds that were carried out and never had an effect.
func (w *world) idle() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, k := range slices.Sorted(maps.Keys(w.struck)) {
		if t := w.struck[k]; t.seen == 0 {
			return fmt.Errorf("faults: %s was carried out %d times, and never had an effect", k, t.done)
		}
	}
	return nil
}

// mute is nil when the agent answers nobody.
func mute(ctx context.Context, h *host) error {
	ctx, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if _, _, err := h.HTTP(ctx, "/healthz"); err == nil {
		return fmt.Errorf("the agent of %s answers", h.Name)
	}
	return nil
}

// muteMember is nil when the member of etcd answers nobody.
func muteMember(ctx context.Context, m *lab.Member) error {
	ctx, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
	defer cancel()
	if m.Answers(ctx) == nil {
		return fmt.Errorf("%s answers", m.Name)
	}
	return nil
}

// full is nil when nothing more goes onto the node's disk.
func full(h *host) error {
	path := filepath.Join(h.RunDir(), "probe")
	err := os.WriteFile(path, make([]byte, 1<<16), 0o600)
	if errors.Is(err, unix.ENOSPC) {
		err = nil
	} else if err == nil {
		err = errors.New("a file goes onto the disk of " + h.Name)
	}
	return errors.Join(err, os.RemoveAll(path))
}

// off is nil when the agent's clock is as far off as it should be.
func off(h *host) error {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/timens_offsets", h.PID()))
	if err != nil {
		return err
	}
	want := "boottime " + strconv.Itoa(int(h.ClockOffset.Seconds()))
	if has := strings.Join(strings.Fields(string(text)), " "); !strings.Contains(has, want+" ") {
		return fmt.Errorf("the clocks of the agent are off by %q: want %q", has, want)
	}
	return nil
}

// inode tells a file from another one at the same path; 0: there is none.
func inode(path string) uint64 {
	info, err := os.Stat(path)
	if err != nil {
		return 0
	}
	return info.Sys().(*syscall.Stat_t).Ino
}

// other is nil when something is another than it was.
func other[T comparable](before, after T, what string) error {
	if before == after {
		return fmt.Errorf("%s is what it was", what)
	}
	return nil
}

// forgotten is nil when etcd has no history before a revision.
func forgotten(ctx context.Context, etcd *lab.Etcd, revision int64) error {
	_, err := etcd.Client().Get(ctx, "ready", clientv3.WithRev(revision-1))
	switch {
	case errors.Is(err, rpctypes.ErrCompacted):
		return nil
	case err == nil:
		return fmt.Errorf("revision %d is to be forgotten, and can be read", revision-1)
	}
	return fmt.Errorf("a read of what was forgotten: %w", err)
}

// lease is that of a node's session; 0: it has none.
func lease(ctx context.Context, etcd *lab.Etcd, node string) (int64, error) {
	answer, err := etcd.Client().Get(ctx, "/berth/v1/sessions/"+node)
	if err != nil || len(answer.Kvs) == 0 {
		return 0, err
	}
	return answer.Kvs[0].Lease, nil
}
