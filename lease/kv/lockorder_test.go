//go:build lockorder

package kv_test

import (
	"testing"

	"github.com/berth-ipam/berth/internal/lockorder"
	"github.com/berth-ipam/berth/lease/lab"
)

func TestNobodyCallsEtcdUnderALockThatOthersWaitForAtOnce(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	var mu lockorder.Subject
	call := func() (refused bool) {
		defer func() { refused = recover() != nil }()
		_, err := s.Config.Read(t.Context())
		l.Check(err)
		return false
	}
	if call() {
		t.Error("etcd cannot be called by who holds nothing")
	}
	mu.Lock()
	defer mu.Unlock()
	if !call() {
		t.Error("etcd is called by who holds a subject's lock")
	}
}
