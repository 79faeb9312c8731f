// Package kinds has each kind of place that can be mutated: every line says at its end which mutants it has.
package kinds

import (
	"errors"
	"fmt"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

type instant = time.Duration

type store struct {
	open     bool
	patience time.Duration
	began    instant
	compares []clientv3.Cmp
}

const all = 1 < 2

func (s *store) guard(a, b bool) (int, error) { // returned at once: return zero values
	if s.open { // guard never taken: s.open; guard always taken: s.open
		return 1, nil
	}
	if a && b { // guard never taken: a && b; operand dropped: a; operand dropped: b
		return 2, nil
	}
	if a || b { // guard always taken: a || b; operand dropped: a; operand dropped: b
		return 3, errors.New("3") // nil instead of error: errors.New("3")
	}
	switch {
	case a: // guard never taken: a; guard always taken: a
		return 4, nil
	}
	switch a {
	case b:
	}
	if all {
		return 5, nil
	}
	return 6, nil
}

func (s *store) fails() error { // returned at once: return zero values
	if err := s.close(); err != nil { // call skipped: s.close(); error ignored: err != nil
		return err // nil instead of error: err
	}
	if err := fmt.Errorf("made"); err == nil { // error ignored: err == nil
		panic("never")
	}
	return s.close() // nil instead of error: s.close(); call skipped: s.close()
}

func (s *store) close() error { return nil } // returned at once: return zero values

func (s *store) lock() {} // it does nothing, so that nothing can be left out

func both() (int, error) { return 0, nil } // returned at once: return zero values

func tuple() (int, error) { // returned at once: return zero values
	return both()
}

func (s *store) skips(c chan int) { // returned at once: return
	s.lock()               // call skipped: s.lock()
	defer s.lock()         // call skipped: defer s.lock()
	go s.lock()            // call skipped: go s.lock()
	_ = s.close()          // call skipped: _ = s.close(); call skipped: s.close()
	if s.lock(); s.has() { // guard never taken: s.has(); guard always taken: s.has()
		close(c) // call skipped: close(c)
	}
}

func (s *store) has() bool { return true } // returned at once: return true; returned at once: return false

func bounds(i, j int, names []string, at time.Time) (n int) { // returned at once: return zero values
	for k := 0; k < i; k++ { // bound moved: k < i
		n++
	}
	if i >= j { // bound moved: i >= j; guard never taken: i >= j; guard always taken: i >= j
		n++
	}
	if len(names) > 0 { // guard never taken: len(names) > 0; guard always taken: len(names) > 0
		n++
	}
	if at.Before(time.Unix(0, 0)) { // bound moved: at.Before(time.Unix(0, 0)); guard never taken: at.Before(time.Unix(0, 0)); guard always taken: at.Before(time.Unix(0, 0))
		n++
	}
	return n
}

func (s *store) times(now instant, at time.Time) bool { // returned at once: return true; returned at once: return false
	at = at.Add(s.patience) // time doubled: s.patience; time halved: s.patience
	wait := s.patience / 2  // time doubled: s.patience / 2; time halved: s.patience / 2
	if wait == 0 {          // guard never taken: wait == 0; guard always taken: wait == 0
		return at.IsZero()
	}
	return now-s.began > 2*time.Second+wait // bound moved: now-s.began > 2*time.Second+wait; time doubled: wait; time halved: wait; time doubled: 2*time.Second; time halved: 2*time.Second
}

func (s *store) transaction(then func(...clientv3.Op)) { // returned at once: return
	s.when(s.a(), s.b())                           // call skipped: s.when(s.a(), s.b()); compare dropped: s.a(); compare dropped: s.b()
	s.when(s.a())                                  // call skipped: s.when(s.a())
	s.when(s.compares...)                          // call skipped: s.when(s.compares...)
	s.compares = []clientv3.Cmp{s.a(), s.b()}      // compare dropped: s.a(); compare dropped: s.b()
	s.compares = append(s.compares, s.a())         // compare dropped: s.a()
	then(clientv3.OpGet("a"), clientv3.OpGet("b")) // call skipped: then(clientv3.OpGet("a"), clientv3.OpGet("b")); write dropped: clientv3.OpGet("a"); write dropped: clientv3.OpGet("b")
}

func (s *store) when(c ...clientv3.Cmp) { s.compares = append(s.compares, c...) } // returned at once: return

func (s *store) a() clientv3.Cmp { return clientv3.Cmp{} } // returned at once: return zero values
func (s *store) b() clientv3.Cmp { return clientv3.Cmp{} } // returned at once: return zero values
