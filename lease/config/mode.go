package config

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-ipam/berth/allocator"
)

// A ModeError says why a pool's mode cannot change.
type ModeError struct {
	From, To allocator.Mode
	Use      *InUseError
}

func (e *ModeError) Error() string {
	return fmt.Sprintf("lease: pool %q cannot change from mode %s to %s while it is in use: %s: stop its containers and release its "+
		"reservations, remove it by `berthctl remove pool %s --drain`, which waits until nodes have given their blocks back, and apply again; "+
		"or make another pool", e.Use.Pool, e.From, e.To, e.Use.words(), e.Use.Pool)
}

// rewires reports whether a container of a pool would have to be made anew in the pool's next mode: between flat and the others. Among
// the others nodes change alone how they reach each other.
func rewires(was, is *allocator.Pool) bool { return was.Layer3() != is.Layer3() }

// guardMode checks that nobody has anything of a pool whose next mode rewires its containers: what they have in one mode leads nowhere
// in the other, and the ends of a CIDR are addresses in the one alone. Nobody gets anything by the former mode either, since claims and
// reservations compare the pool.
func (s *Editor) guardMode(ctx context.Context, was, is *allocator.Pool) (guard, error) {
	if !rewires(was, is) {
		return guard{}, nil
	}
	g, err := s.unused(ctx, was.Name)
	if use, ok := errors.AsType[*InUseError](err); ok {
		err = &ModeError{From: was.Mode, To: is.Mode, Use: use}
	}
	return g, err
}
