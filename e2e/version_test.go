package e2e

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/berth-ipam/berth/client"
	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
	"github.com/berth-ipam/berth/internal/sandbox"
)

// withMTU is onePool with an MTU and one more route.
func withMTU(mtu int) string {
	return onePool + fmt.Sprintf("    mtu: %d\n    routes: [{to: 192.0.2.0/24, via: 10.42.0.1}]\n", mtu)
}

// mtuOf is the MTU of a container's interface, as its kernel has it.
func mtuOf(c *lab.Container) (mtu int, err error) {
	err = sandbox.Within(c.Netns, func() error {
		link, err := net.InterfaceByName(c.Interface)
		if err == nil {
			mtu = link.MTU
		}
		return err
	})
	return mtu, err
}

// fleet is containers of both classes, spread over the nodes.
func fleet(t *testing.T, l *lab.Lab, n int) []*lab.Container {
	t.Helper()
	all := make([]*lab.Container, n)
	for i := range all {
		node := l.Nodes[i%len(l.Nodes)]
		if i%4 == 0 {
			all[i] = member(t, node, l, fmt.Sprintf("db-%d", i))
		} else {
			all[i] = container(t, node, l, "BERTH_NAMESPACE", "shop", "BERTH_APP", "web")
		}
		add(t, all[i])
	}
	return all
}

func TestARollOutReachesEveryContainerAndBreaksNoConnection(t *testing.T) {
	l := newLab(t, 3, onePool)
	all := fleet(t, l, 60)
	stream := startStream(t, all[0], all[1])
	if _, err := labtest.Apply(t, l, withMTU(1400)); err != nil {
		t.Fatal(err)
	}
	if out, err := l.Nodes[1].Berthctl(t.Context(), "version", "--wait", "--timeout", "30s"); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range all {
		if mtu, err := mtuOf(c); err != nil || mtu != 1400 {
			t.Errorf("%s has MTU %d, error %v, when the version says complete", c.ID, mtu, err)
		}
		if err := c.Check(t.Context()); err != nil {
			t.Errorf("CHECK of %s: %v", c.ID, err)
		}
	}
	if err := stream.end(); err != nil {
		t.Error("the TCP stream through the roll-out:", err)
	}

	if err := l.Nodes[2].Stop(); err != nil {
		t.Fatal(err)
	}
	if _, err := labtest.Apply(t, l, withMTU(1300)); err != nil {
		t.Fatal(err)
	}
	out, err := l.Nodes[0].Berthctl(t.Context(), "version", "--wait", "--timeout", "2s")
	exit, ok := errors.AsType[*lab.ExitError](err)
	if !ok || exit.Code != 3 {
		t.Errorf("with one agent stopped: %v, want exit code 3", err)
	}
	for _, c := range all {
		if listed := strings.Contains(out+fmt.Sprint(err), c.ID); listed != (c.Node == l.Nodes[2]) {
			t.Errorf("%s on %s: among the laggards: %v\n%s", c.ID, c.Node.Name, listed, out)
		}
	}
	if err := l.Nodes[2].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if out, err := l.Nodes[0].Berthctl(t.Context(), "version", "--wait", "--timeout", "30s"); err != nil {
		t.Errorf("started again: %v\n%s", err, out)
	}
}

// A stream sends numbered bytes from one container to another without a pause.
type stream struct {
	stop chan struct{}
	done errgroup.Group
}

func startStream(t *testing.T, from, to *lab.Container) *stream {
	t.Helper()
	s := &stream{stop: make(chan struct{})}
	var listener net.Listener
	var out net.Conn
	err := sandbox.Within(to.Netns, func() (err error) { listener, err = net.Listen("tcp4", to.Address.String()+":7000"); return err })
	if err == nil {
		err = sandbox.Within(from.Netns, func() (err error) { out, err = net.Dial("tcp4", to.Address.String()+":7000"); return err })
	}
	if err != nil {
		t.Fatal(err)
	}
	in, err := listener.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close(); in.Close(); out.Close() })
	s.done.Go(func() error {
		defer out.(*net.TCPConn).CloseWrite()
		for n := byte(0); ; n++ {
			select {
			case <-s.stop:
				return nil
			default:
			}
			chunk := make([]byte, 4096)
			for i := range chunk {
				chunk[i] = n
			}
			if _, err := out.Write(chunk); err != nil {
				return err
			}
		}
	})
	s.done.Go(func() error {
		chunk := make([]byte, 4096)
		for n := byte(0); ; n++ {
			if _, err := io.ReadFull(in, chunk); errors.Is(err, io.EOF) {
				return nil
			} else if err != nil {
				return err
			}
			if chunk[0] != n || chunk[4095] != n {
				return fmt.Errorf("chunk %d arrived as %d", n, chunk[0])
			}
		}
	})
	return s
}

func (s *stream) end() error {
	close(s.stop)
	return s.done.Wait()
}

func TestTheVersionNeverSaysCompleteTooEarly(t *testing.T) {
	const applies = 200
	l := newLab(t, 2, withMTU(1200))
	var mu sync.Mutex
	live := map[*lab.Container]bool{} // answered, and not being deleted
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	var churn errgroup.Group
	for i := range 4 {
		node, spare := l.Nodes[i%2], make([]*lab.Container, 5)
		for k := range spare {
			spare[k] = container(t, node, l, "BERTH_NAMESPACE", "shop", "BERTH_APP", "web")
		}
		churn.Go(func() error {
			for ctx.Err() == nil {
				c := spare[rand.IntN(len(spare))]
				mu.Lock()
				was := live[c]
				delete(live, c)
				mu.Unlock()
				if was {
					if err := c.Del(context.WithoutCancel(ctx)); err != nil {
						return err
					}
					continue
				}
				if _, err := c.Add(context.WithoutCancel(ctx)); err != nil {
					return err
				}
				mu.Lock()
				live[c] = true
				mu.Unlock()
			}
			return nil
		})
	}
	agent, looked := client.New(l.Nodes[0].Socket()), 0
	for i := range applies {
		want := 1201 + i
		if _, err := labtest.Apply(t, l, withMTU(want)); err != nil {
			t.Fatal(err)
		}
		if i%5 == 0 { // the agent reads etcd once a second for all who ask it
			if _, err := agent.Wait(t.Context(), client.Select{Pool: "default"}, func(*client.SetVersion) {}); err != nil {
				t.Fatal(err)
			}
		} else if out, err := l.Nodes[0].Berthctl(t.Context(), "version", "--pool", "default", "--wait", "--timeout", "30s"); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		mu.Lock()
		for c := range live {
			looked++
			if mtu, err := mtuOf(c); err != nil || mtu != want {
				t.Errorf("complete at MTU %d, and %s has %d, error %v", want, c.ID, mtu, err)
			}
		}
		mu.Unlock()
	}
	stop()
	if err := churn.Wait(); err != nil {
		t.Error(err)
	}
	t.Logf("%d applies, %d looks into a container", applies, looked)
	if looked < applies {
		t.Errorf("only %d looks: the race was not run", looked)
	}
}

func TestOfTwoAppliesAtOnceOneWins(t *testing.T) {
	l := newLab(t, 1, onePool)
	before, err := l.Nodes[0].Berthctl(t.Context(), "get", "history", "-o", "json")
	if err != nil {
		t.Fatal(err)
	}
	for range 20 { // until two have met
		var errs [2]error
		var both sync.WaitGroup
		mtu := 1300 + rand.IntN(100)
		for i := range errs {
			both.Go(func() { _, errs[i] = labtest.Apply(t, l, withMTU(mtu+1000*(i+1))) })
		}
		both.Wait()
		for i := range errs {
			exit, ok := errors.AsType[*lab.ExitError](errs[i])
			if !ok {
				continue
			}
			if exit.Code != 4 || errs[1-i] != nil {
				t.Fatalf("the two ended with %v and %v: want one to win and one to exit with 4", errs[0], errs[1])
			}
			says(t, errs[i].Error(), "revision")
			after, err := l.Nodes[0].Berthctl(t.Context(), "get", "history", "-o", "json")
			if err != nil || strings.Count(after, `"number"`) <= strings.Count(before, `"number"`) {
				t.Errorf("history does not name the winner: %v\n%s", err, after)
			}
			return
		}
	}
	t.Error("twenty pairs of applies never met")
}

func TestADrainedPoolIsRemovedWhenItsLastContainerIsGone(t *testing.T) {
	l := newLab(t, 1, onePool)
	node := l.Nodes[0]
	stays, goes := container(t, node, l, "BERTH_NAMESPACE", "shop", "BERTH_APP", "web"), container(t, node, l)
	add(t, stays)
	_, err := node.Berthctl(t.Context(), "remove", "pool", "default")
	if err == nil {
		t.Fatal("a pool in use was removed")
	}
	says(t, err.Error(), "in use", "1 owned block")
	var drain errgroup.Group
	drain.Go(func() error {
		out, err := node.Berthctl(t.Context(), "remove", "pool", "default", "--drain", "--timeout", "60s")
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, out)
		}
		return err
	})
	labtest.Eventually(t, "the pool gives no address any more", func() error {
		_, err := goes.Add(t.Context())
		if err == nil {
			return errors.Join(errors.New("it gave one"), goes.Del(t.Context()))
		}
		if !strings.Contains(err.Error(), "drained") {
			return err
		}
		return nil
	})
	del(t, stays)
	if err := drain.Wait(); err != nil {
		t.Error(err)
	}
	if out, err := node.Berthctl(t.Context(), "get", "pools", "-o", "json"); err != nil || strings.Contains(out, "default") {
		t.Errorf("error %v, and the pools are %s", err, out)
	}
}
