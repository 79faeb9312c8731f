package e2e

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/e2e/faults/check"
	"github.com/berth-ipam/berth/e2e/faults/watch"
	"github.com/berth-ipam/berth/e2e/lab"
)

// A tower asks the network twenty times a second who has the addresses that stories are about, and remembers by MAC: each
// container has one of its own, and so has each of its lives.
type tower struct {
	watcher *watch.Watcher
	began   time.Time

	mu    sync.Mutex
	macs  uint32
	heard map[netip.Addr]map[check.MAC]*voice
}

// A voice is a container as the network has heard it.
type voice struct {
	first check.Sighting
	last  check.Sighting
	times int
}

func newTower(t *testing.T, l *lab.Lab) *tower {
	t.Helper()
	w := &tower{began: time.Now(), heard: map[netip.Addr]map[check.MAC]*voice{}}
	path := filepath.Join("/run/netns", l.NextID())
	if err := watch.Plug("switch", path); err != nil {
		t.Fatal(err)
	}
	var err error
	if w.watcher, err = watch.New(path, watch.Neighbours{}, w.now, w.hear); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var run sync.WaitGroup
	run.Go(func() { _ = w.watcher.Run(ctx) })
	t.Cleanup(func() { cancel(); run.Wait() })
	return w
}

func (w *tower) now() time.Duration { return time.Since(w.began) }

func (w *tower) hear(s check.Sighting) {
	w.mu.Lock()
	defer w.mu.Unlock()
	voices := w.heard[s.Address]
	if voices == nil {
		voices = map[check.MAC]*voice{}
		w.heard[s.Address] = voices
	}
	v := voices[s.MAC]
	if v == nil {
		v = &voice{first: s}
		voices[s.MAC] = v
	}
	v.last = s
	v.times++
}

// mac is one that nobody has had.
func (w *tower) mac() check.MAC {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.macs++
	n := w.macs
	return check.MAC{2, 7, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}
}

// twice says whether an address is live twice: who was heard first is heard, by a request that was sent after another had
// answered.
func (w *tower) twice(address netip.Addr) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	for older, a := range w.heard[address] {
		for newer, b := range w.heard[address] {
			if older != newer && a.first.At < b.first.Sent && a.last.Sent > b.first.At {
				return fmt.Errorf("%v is live twice: %x, heard from %v, is heard at %v, %d times in all; %x is heard from %v",
					address, older, ms(a.first.At), ms(a.last.Sent), a.times, newer, ms(b.first.At))
			}
		}
	}
	return nil
}

// speaks waits until a container is heard by a request that is sent from now on.
func (w *tower) speaks(ctx context.Context, address netip.Addr, mac check.MAC) error {
	from := w.now()
	return lab.Eventually(ctx, fmt.Sprintf("%x is heard at %v", mac, address), func() error {
		w.watcher.Mind(address)
		w.mu.Lock()
		defer w.mu.Unlock()
		if v := w.heard[address][mac]; v == nil || v.last.Sent < from {
			return fmt.Errorf("it is silent: %s", voices(w.heard[address]))
		}
		return nil
	})
}

// heardSince says that a container is heard by a request that was sent after an instant.
func (w *tower) heardSince(address netip.Addr, mac check.MAC, from time.Duration) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v := w.heard[address][mac]; v != nil && v.last.Sent > from {
		return fmt.Errorf("%v is live twice: %x is heard at %v, and may not be since %v", address, mac, ms(v.last.Sent), ms(from))
	}
	return nil
}

func voices(all map[check.MAC]*voice) string {
	var text []string
	for mac, v := range all {
		text = append(text, fmt.Sprintf("%x from %v to %v", mac, ms(v.first.At), ms(v.last.At)))
	}
	return "heard are " + strings.Join(text, ", ")
}
