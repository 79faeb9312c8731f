// Package random is the one source of chance: pauses that differ, choices among blocks, names. A source of its own for each node
// lets a run be repeated by its seed. Nothing that it gives is a secret.
package random

import (
	crypto "crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"sync"
	"time"
)

// A Source gives random values. It is safe for concurrent use.
type Source struct {
	mu    sync.Mutex
	bytes interface{ Read([]byte) (int, error) } // never fails
	rand  *rand.Rand
}

// New makes a source of what the kernel gives at each call. It keeps no state that the clone of a virtual machine would go on
// with: two clones do not choose the same.
func New() *Source { return &Source{bytes: crypto.Reader, rand: rand.New(kernel{})} }

// kernel is a rand.Source.
type kernel struct{}

// Uint64 is any number of 64 bits.
func (kernel) Uint64() uint64 {
	var b [8]byte
	_, _ = crypto.Read(b[:]) // never fails: crypto/rand.Read
	return binary.LittleEndian.Uint64(b[:])
}

// Seeded makes the source of a seed: what it gives is the same each time.
func Seeded(seed uint64) *Source {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	chacha := rand.NewChaCha8(s)
	return &Source{bytes: chacha, rand: rand.New(chacha)}
}

// OrNew is the source, or one of New where it is nil.
func (s *Source) OrNew() *Source {
	if s == nil {
		return New()
	}
	return s
}

// Below is a duration from 0 to just below d, which is more than 0.
func (s *Source) Below(d time.Duration) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return time.Duration(s.rand.Int64N(int64(d)))
}

// Uint64 is any number of 64 bits.
func (s *Source) Uint64() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rand.Uint64()
}

// Perm is the numbers below n, in any order.
func (s *Source) Perm(n int) []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rand.Perm(n)
}

// Fill fills b with any bytes.
func (s *Source) Fill(b []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, _ = s.bytes.Read(b)
}

// ID is a name that no other has: 16 hexadecimal digits.
func (s *Source) ID() string {
	var b [8]byte
	s.Fill(b[:])
	return hex.EncodeToString(b[:])
}
