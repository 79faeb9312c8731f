package allocator

// nobody is the number of the zero App.
const nobody = int32(0)

// apps numbers the apps that slots were last used by, and forgets an app with the last slot that was. So its size is
// bounded by that of the Space, however many apps come and go.
type apps struct {
	numbers map[App]int32
	entries []appEntry // the first is nobody's
	spare   []int32
}

type appEntry struct {
	app      App
	released list
	slots    int
}

func newApps() apps {
	return apps{numbers: map[App]int32{}, entries: make([]appEntry, 1)}
}

// last is the slot that app released last, or none.
func (p *apps) last(app App) int32 {
	if n, known := p.numbers[app]; known {
		return p.entries[n].released.tail
	}
	return none
}

// keep gives app's number to one more slot.
func (p *apps) keep(app App) int32 {
	if app == (App{}) {
		return nobody
	}
	n, known := p.numbers[app]
	if !known {
		n = p.newEntry()
		p.entries[n] = appEntry{app: app, released: emptyList}
		p.numbers[app] = n
	}
	p.entries[n].slots++
	return n
}

func (p *apps) newEntry() int32 {
	if last := len(p.spare) - 1; last >= 0 {
		n := p.spare[last]
		p.spare = p.spare[:last]
		return n
	}
	p.entries = append(p.entries, appEntry{})
	return int32(len(p.entries) - 1)
}

// drop takes number n from a slot, which is in no list of the app.
func (p *apps) drop(n int32) {
	if n == nobody {
		return
	}
	e := &p.entries[n]
	if e.slots--; e.slots == 0 {
		delete(p.numbers, e.app)
		*e = appEntry{}
		p.spare = append(p.spare, n)
	}
}
