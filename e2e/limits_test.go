package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

func TestAnAgentThatHasNoDescriptorLeftServesAgainOnceItHas(t *testing.T) {
	l := newLab(t, 1, onePool)
	node := l.Nodes[0]
	before := warm(t, l)
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", node.PID()))
	if err != nil {
		t.Fatal(err)
	}
	var usual unix.Rlimit
	if err := unix.Prlimit(node.PID(), unix.RLIMIT_NOFILE, nil, &usual); err != nil {
		t.Fatal(err)
	}
	none := unix.Rlimit{Cur: uint64(len(open)) / 2, Max: usual.Max}
	if err := unix.Prlimit(node.PID(), unix.RLIMIT_NOFILE, &none, nil); err != nil {
		t.Fatal(err)
	}
	c := container(t, node, l)
	adding := called(c, "ADD", 0, nil)
	starts(t, c, adding)
	labtest.Eventually(t, "it says that it cannot accept a caller", func() error {
		if log := node.Log(50); !strings.Contains(log, "cannot accept a caller yet") {
			return errors.New(log)
		}
		return nil
	})
	if err := unix.Prlimit(node.PID(), unix.RLIMIT_NOFILE, &usual, nil); err != nil {
		t.Fatal(err)
	}
	if err := adding.Wait(); err != nil {
		t.Errorf("the ADD that waited: %v", err)
	}
	holds(t, node, 1)
	del(t, c)
	restores(t, l, before)
}
