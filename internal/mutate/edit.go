package mutate

import "slices"

// An edit puts text before and after a part of a file, or something else in its place.
type edit struct {
	from, to      int
	before, after string
	replaced      bool // by before
}

// apply gives the source with the edits: the wider of two that begin or end at one place is outside, of equal ones the first.
func apply(source []byte, edits []edit) []byte {
	type insert struct {
		at, size, order int
		closes          bool
		text            string
		skip            int
	}
	var inserts []insert
	for i, e := range edits {
		size := e.to - e.from
		if e.replaced {
			inserts = append(inserts, insert{at: e.from, size: size, order: i, text: e.before, skip: size})
			continue
		}
		inserts = append(inserts, insert{at: e.from, size: size, order: i, text: e.before},
			insert{at: e.to, size: size, order: i, text: e.after, closes: true})
	}
	slices.SortStableFunc(inserts, func(a, b insert) int {
		switch {
		case a.at != b.at:
			return a.at - b.at
		case a.closes != b.closes:
			if a.closes {
				return -1
			}
			return 1
		case a.closes && a.size != b.size:
			return a.size - b.size
		case a.closes:
			return b.order - a.order
		case a.size != b.size:
			return b.size - a.size
		}
		return a.order - b.order
	})
	var out []byte
	last := 0
	for _, i := range inserts {
		out = append(out, source[last:i.at]...)
		out = append(out, i.text...)
		last = i.at + i.skip
	}
	return append(out, source[last:]...)
}
