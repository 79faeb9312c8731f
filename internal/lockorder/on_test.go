//go:build lockorder

package lockorder

import "testing"

func broken(t *testing.T, f func()) bool {
	t.Helper()
	panicked := true
	func() {
		defer func() { panicked = recover() != nil }()
		f()
	}()
	return panicked
}

func TestALockOfAnEarlierOrTheSameLineIsNotTaken(t *testing.T) {
	var h Host
	var g Gate
	var s Subject
	in := func() {
		h.RLock()
		g.RLock()
		s.Lock()
		s.Unlock()
		g.RUnlock()
		h.RUnlock()
	}
	if broken(t, in) {
		t.Error("what keeps the order is refused")
	}
	if !broken(t, func() { s.Lock(); defer s.Unlock(); g.RLock() }) {
		t.Error("an earlier line is taken by who holds a later one")
	}
	if !broken(t, func() { g.RLock(); defer g.RUnlock(); g.RLock() }) {
		t.Error("one line is taken twice: whoever waits for the whole lock in between stops both")
	}
	if !broken(t, func() { defer Slot()(); Attachment() }) {
		t.Error("an attachment's lock is taken by who has a slot")
	}
	if broken(t, func() { defer Attachment()(); defer Attachment()() }) {
		t.Error("a set's attachments cannot be locked")
	}
	if broken(t, in) {
		t.Error("something of the former is held yet")
	}
}

func TestNobodyCallsTheKernelUnderALockThatOthersWaitForAtOnce(t *testing.T) {
	var h Host
	var g Gate
	var p Spaces
	var s Subject
	calls := func() { Calls(Kernel) }
	if broken(t, func() { h.RLock(); defer h.RUnlock(); g.RLock(); defer g.RUnlock(); calls() }) {
		t.Error("the host's order or the gate spans no call")
	}
	if !broken(t, func() { p.Lock(); defer p.Unlock(); calls() }) || !broken(t, func() { s.Lock(); defer s.Unlock(); calls() }) {
		t.Error("the kernel is called under a lock that spans no call")
	}
	if !broken(t, func() { g.RLock(); defer g.RUnlock(); Calls(Etcd) }) || broken(t, func() { defer Attachment()(); Calls(Etcd) }) {
		t.Error("etcd is called under the gate, or not under an attachment's lock")
	}
}

func TestAnotherGoroutinesLocksAreItsOwn(t *testing.T) {
	var s Subject
	var g Gate
	s.Lock()
	defer s.Unlock()
	done := make(chan bool)
	go func() { done <- broken(t, func() { g.Lock(); g.Unlock() }) }()
	if <-done {
		t.Error("who holds nothing is refused")
	}
}
