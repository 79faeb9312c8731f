package connectivity

import (
	"testing"

	"github.com/berth-ipam/berth/netops/echo"
)

// A way that carries a number of bytes. It says so, does not, or says something else.
func TestTheLargestPacketThatPassesIsFoundWhateverIsSaidOfIt(t *testing.T) {
	for _, carries := range []int{minimal, 576, 1280, 1400, 1498, 1499} {
		for what, said := range map[string]int{
			"nothing": -1, "no size": 0, "the size": carries, "less": carries - 100, "more": 1499, "too much": 9000,
		} {
			asked := 0
			failure := func() error {
				if said < 0 {
					return echo.ErrNoAnswer
				}
				return &echo.TooBigError{MTU: said}
			}
			got := largest(minimal, 1500, failure(), func(size int) error {
				asked++
				if size <= carries {
					return nil
				}
				return failure()
			})
			most := 12
			if what == "the size" {
				most = 2
			}
			if got != carries || asked > most {
				t.Errorf("the way carries %d bytes and %s is said: found are %d, after %d packets", carries, what, got, asked)
			}
		}
	}
}
