// Package mutant is what the changed copies of the source call, of which internal/mutate builds a test binary: every place has a
// number, and the mutation of the place whose number is in the environment happens. No other source imports this package.
package mutant

import (
	"cmp"
	"fmt"
	"os"
	"strconv"
	"syscall"
	"time"
)

// The environment of a test binary: the mutant's number, or a file of zeros in which the byte of every place is set whose mutation
// would have made a difference. Sub-processes share both.
const (
	Number  = "BERTH_MUTANT"
	Reached = "BERTH_MUTANTS_REACHED"
)

var (
	chosen  = number()
	reached = record()
)

// number is 0 where no mutant is chosen: places are counted from 1.
func number() int {
	text := os.Getenv(Number)
	if text == "" {
		return 0
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		panic(fmt.Sprintf("mutant: %s=%s is no number", Number, text))
	}
	return n
}

func record() []byte {
	name := os.Getenv(Reached)
	if name == "" {
		return nil
	}
	file, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		panic(fmt.Sprintf("mutant: %v", err))
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		panic(fmt.Sprintf("mutant: %v", err))
	}
	// The bytes are in the file however the process ends.
	mapped, err := syscall.Mmap(int(file.Fd()), 0, int(info.Size()), syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_SHARED)
	if err != nil {
		panic(fmt.Sprintf("mutant: map %s: %v", name, err))
	}
	return mapped
}

// Is reports whether mutant n is the chosen one.
func Is(n int) bool {
	if n < len(reached) && reached[n] == 0 {
		reached[n] = 1
	}
	return n == chosen
}

// True is x, and true in mutant n.
func True[B ~bool](n int, x B) B { return x || B(Is(n)) }

// False is x, and false in mutant n.
func False[B ~bool](n int, x B) B { return x && !B(Is(n)) }

// Nil is err, and nil in mutant n.
func Nil(n int, err error) error {
	if err != nil && Is(n) {
		return nil
	}
	return err
}

// Do calls f, unless this is mutant n, in which it succeeds without.
func Do(n int, f func() error) error {
	if Is(n) {
		return nil
	}
	return f()
}

// Less is a < b, and a <= b in mutant n.
func Less[T cmp.Ordered](n int, a, b T) bool { return a < b || a == b && Is(n) }

// AtMost is a <= b, and a < b in mutant n.
func AtMost[T cmp.Ordered](n int, a, b T) bool { return a < b || a == b && !Is(n) }

// Greater is a > b, and a >= b in mutant n.
func Greater[T cmp.Ordered](n int, a, b T) bool { return a > b || a == b && Is(n) }

// AtLeast is a >= b, and a > b in mutant n.
func AtLeast[T cmp.Ordered](n int, a, b T) bool { return a > b || a == b && !Is(n) }

// Before reports whether a is before b, and in mutant n whether it is not after b.
func Before(n int, a, b time.Time) bool { return a.Before(b) || a.Equal(b) && Is(n) }

// After reports whether a is after b, and in mutant n whether it is not before b.
func After(n int, a, b time.Time) bool { return a.After(b) || a.Equal(b) && Is(n) }

// Time is d, twice as much in mutant n and half of it in mutant n+1.
func Time(n int, d time.Duration) time.Duration {
	switch {
	case d == 0:
	case Is(n):
		return 2 * d
	case Is(n + 1):
		return d / 2
	}
	return d
}

// Drop is s without its i-th element in mutant n+i.
func Drop[T any](n int, s ...T) []T {
	var left []T
	for i := range s {
		if !Is(n + i) {
			left = append(left, s[i])
		}
	}
	return left
}

// Zero is nothing of a type.
func Zero[T any]() (zero T) { return zero }
