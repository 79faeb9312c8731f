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
	bytes *rand.ChaCha8
	rand  *rand.Rand // by bytes
}

// New makes a source that nobody can repeat.
func New() *Source {
	var seed [32]byte
	_, _ = crypto.Read(seed[:]) // never fails: crypto/rand.Read
	return source(seed)
}

// Seeded makes the source of a seed: what it gives is the same each time.
func Seeded(seed uint64) *Source {
	var s [32]byte
	binary.LittleEndian.PutUint64(s[:], seed)
	return source(s)
}

func source(seed [32]byte) *Source {
	bytes := rand.NewChaCha8(seed)
	return &Source{bytes: bytes, rand: rand.New(bytes)}
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
	_, _ = s.bytes.Read(b) // never fails: rand.ChaCha8.Read
}

// ID is a name that no other has: 16 hexadecimal digits.
func (s *Source) ID() string {
	var b [8]byte
	s.Fill(b[:])
	return hex.EncodeToString(b[:])
}
