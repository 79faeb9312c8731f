// Package chance is the only source of chance of a simulated cluster. A draw depends on the seed, on what it is for, and on how many
// there were for that before: goroutines that run in another order draw the same.
package chance

import (
	"hash/fnv"
	"strconv"
	"sync"
	"time"
)

// A Source draws for one node, or one purpose. It is safe for concurrent use.
type Source struct {
	seed uint64

	mu    sync.Mutex
	drawn map[string]uint64
}

// New makes the source of a seed.
func New(seed uint64) *Source { return &Source{seed: mix(seed), drawn: map[string]uint64{}} }

// Of is a source of its own, the same for the same name.
func (s *Source) Of(name string) *Source { return New(s.seed ^ hash(name)) }

// Seed is the seed of another source of chance for a purpose.
func (s *Source) Seed(purpose string) uint64 { return mix(s.seed ^ hash(purpose)) }

// Draw is any number of 64 bits.
func (s *Source) Draw(kind string) uint64 {
	s.mu.Lock()
	n := s.drawn[kind]
	s.drawn[kind] = n + 1
	s.mu.Unlock()
	return mix(s.seed ^ hash(kind) ^ mix(n))
}

// Below is a number from 0 to just below n, which is more than 0.
func (s *Source) Below(kind string, n int) int { return int(s.Draw(kind) % uint64(n)) }

// In reports one of n draws true, on average.
func (s *Source) In(kind string, n int) bool { return n > 0 && s.Below(kind, n) == 0 }

// Span is a duration from 0 to just below d, which is more than 0. Two are hardly ever the same, to the nanosecond.
func (s *Source) Span(kind string, d time.Duration) time.Duration {
	return time.Duration(s.Draw(kind) % uint64(d))
}

// Name is a kind for one of a number of things.
func Name(kind string, n int) string { return kind + strconv.Itoa(n) }

func hash(text string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(text))
	return mix(h.Sum64())
}

// mix spreads a number over all bits (SplitMix64's finalizer, Steele et al. 2014).
func mix(z uint64) uint64 {
	z += 0x9e3779b97f4a7c15
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}
