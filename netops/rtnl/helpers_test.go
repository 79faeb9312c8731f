package rtnl

import (
	"testing"

	"github.com/berth-ipam/berth/netops/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

type space = nettest.Space

var newSpace, must, prefixes = nettest.NewSpace, nettest.Must, nettest.Prefixes

// socketIn opens a socket in a namespace.
func socketIn(t testing.TB, in space) (s *Socket) {
	t.Helper()
	in.Do(func() (err error) { s, err = OpenSocket(); return err })
	t.Cleanup(s.Close)
	return s
}
