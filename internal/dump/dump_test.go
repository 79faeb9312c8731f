package dump

import (
	"errors"
	"fmt"
	"testing"

	"github.com/vishvananda/netlink"
)

func TestAnInterruptedListIsAskedForAgain(t *testing.T) {
	asked := 0
	all, err := Whole(func() ([]int, error) {
		if asked++; asked < 3 {
			return []int{1}, fmt.Errorf("list: %w", netlink.ErrDumpInterrupted)
		}
		return []int{1, 2}, nil
	})
	if err != nil || len(all) != 2 || asked != 3 {
		t.Errorf("asked %d times it gives %v, error %v: want the whole list at the third", asked, all, err)
	}
}

func TestAnyOtherErrorIsGivenAtOnce(t *testing.T) {
	asked, broken := 0, errors.New("broken")
	if _, err := Whole(func() ([]int, error) { asked++; return nil, broken }); !errors.Is(err, broken) || asked != 1 {
		t.Errorf("asked %d times it gives the error %v: want the first", asked, err)
	}
}
