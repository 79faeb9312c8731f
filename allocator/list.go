package allocator

// A list is one of slots, linked through the slots themselves, so that a slot enters and leaves in constant time and
// nothing is allocated.
type list struct {
	head, tail int32
	len        int
}

type link struct{ prev, next int32 }

// Which of a slot's links a list uses.
const (
	byKind = iota
	byApp
)

var emptyList = list{head: none, tail: none}

// insert puts slot i after slot after, which is in l, or first if that is none.
func (s *Space) insert(l *list, by int, i, after int32) {
	next := l.head
	if after != none {
		next = s.slots[after].links[by].next
	}
	s.slots[i].links[by] = link{after, next}
	s.join(l, by, after, i)
	s.join(l, by, i, next)
	l.len++
}

func (s *Space) remove(l *list, by int, i int32) {
	at := s.slots[i].links[by]
	s.join(l, by, at.prev, at.next)
	l.len--
}

// join makes b follow a; none stands for the list's ends.
func (s *Space) join(l *list, by int, a, b int32) {
	if a == none {
		l.head = b
	} else {
		s.slots[a].links[by].next = b
	}
	if b == none {
		l.tail = a
	} else {
		s.slots[b].links[by].prev = a
	}
}
