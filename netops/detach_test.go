package netops

import (
	"errors"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/netops/rtnl"
)

func TestDetachAnswersOnlyWhenBothEndsAreGone(t *testing.T) {
	k, host := newBridge(t)
	for i := range 20 {
		p, inside := newContainer(t, k, i)
		must(t, k.Detach(p.Name))
		for _, end := range []struct {
			space
			name string
		}{{host, p.Name}, {inside, "eth0"}} {
			end.Do(func() error {
				s, err := rtnl.OpenSocket()
				if err != nil {
					return err
				}
				defer s.Close()
				if l, err := rtnl.LinkNamed(s, end.name); !errors.Is(err, unix.ENODEV) {
					t.Errorf("%s: %+v, error %v: want no such device", end.name, l, err)
				}
				return nil
			})
		}
		classes, err := k.Classes()
		must(t, err)
		if len(classes) != 0 {
			t.Errorf("classes %v are left", classes)
		}
	}
}

func TestDetachOfWhatIsGoneSucceeds(t *testing.T) {
	k, _ := newBridge(t)
	p, _ := newContainer(t, k, 1)
	for range 2 {
		if err := k.Detach(p.Name); err != nil {
			t.Error(err)
		}
	}
}

func TestDetachWithoutTheKernelsNewsIsAnsweredByTheDeletion(t *testing.T) {
	k, _ := newBridge(t)
	p, inside := newContainer(t, k, 1)
	k.bridges.mu.Lock() // the listener waits for it
	err := k.Detach(p.Name)
	k.bridges.mu.Unlock()
	must(t, err)
	if l := inside.LinkAt("eth0"); l != nil {
		t.Errorf("%v is left", l)
	}
}

func TestOnlyPortsCanBeDetached(t *testing.T) {
	k, host := newBridge(t)
	if err := k.Detach("berth0"); err == nil || host.LinkAt("berth0") == nil {
		t.Errorf("error %v: want the bridge to stay", err)
	}
}
