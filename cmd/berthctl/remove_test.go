package main

import (
	"bytes"
	"context"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/berth-ipam/berth/internal/etcdtest"
	"github.com/berth-ipam/berth/lease/block"
	"github.com/berth-ipam/berth/lease/config"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// idle makes a node that has a block of the pool default ready, and nothing in it.
func (l *lab) idle(node string) (*session.Session, record.Block) {
	l.Helper()
	config, session := l.config(), l.join(node)
	b, err := block.Claim(l.Context(), session, "default", config.PoolRevisions["default"], netip.MustParsePrefix("10.42.64.0/26"))
	if err != nil {
		l.Fatal(err)
	}
	return session, b
}

// noticed is what a program writes, and whether it has begun to.
type noticed struct {
	bytes.Buffer
	once  sync.Once
	begun chan struct{}
}

func (n *noticed) Write(text []byte) (int, error) {
	n.once.Do(func() { close(n.begun) })
	return n.Buffer.Write(text)
}

// removing begins to remove the pool default, and comes back when the pool is draining and is waited for.
func (l *lab) removing(ctx context.Context) <-chan answer {
	l.Helper()
	ended := make(chan answer, 1)
	diagnostics := &noticed{begun: make(chan struct{})}
	go func() {
		var out bytes.Buffer
		code := run(ctx, []string{"--run-dir", etcdtest.RunDir, "--etcd-prefix", l.prefix, "remove", "pool", "default"}, nil, &out, diagnostics)
		ended <- answer{l.T, "berthctl remove pool default", code, out.String(), diagnostics.String()}
	}()
	select {
	case <-diagnostics.begun:
	case <-time.After(time.Minute):
		l.Fatal("nobody waits for the pool")
	}
	if !l.config().Pools["default"].Draining {
		l.Error("the pool is not drained")
	}
	return ended
}

func TestAPoolOfWhichNodesHaveOnlyIdleBlocksIsRemovedWhenTheyHaveGivenThemBack(t *testing.T) {
	l := configured(t)
	session, wanted := l.idle("n1")
	ended := l.removing(t.Context())
	if _, err := block.Release(t.Context(), session, wanted, wanted.Prefix); err != nil {
		t.Fatal(err)
	}
	(<-ended).ends(exitDone).says("new revision", "pool default")
	if len(l.config().Pools) != 0 {
		t.Error("the pool is still there")
	}
}

func TestAPoolThatAContainerUsesIsRefusedAndNotEvenDrained(t *testing.T) {
	for name, use := range map[string]func(*lab){
		"an address":    func(l *lab) { l.running("n1", "10.42.64.0/26") },
		"a reservation": func(l *lab) { l.idle("n1"); l.ctl("reserve", "shop/db/db-0").exits(exitDone) },
	} {
		t.Run(name, func(t *testing.T) {
			l := configured(t)
			use(l)
			before := l.config()
			l.ctl("remove", "pool", "default").exits(exitError).complains("is in use", "1 owned block")
			if now := l.config(); now.Revision != before.Revision {
				t.Errorf("the history has %+v", l.entries())
			}
		})
	}
}

func TestAnIdlePoolWhoseRemovalIsInterruptedIsAsItWas(t *testing.T) {
	l := configured(t)
	l.idle("n1")
	ctx, interrupt := context.WithCancel(t.Context())
	ended := l.removing(ctx)
	interrupt()
	(<-ended).exits(exitError).complains("interrupted")
	if l.config().Pools["default"].Draining {
		t.Error("the pool was left draining")
	}
}

func TestAPoolThatWasDrainingBeforeItsRemovalWasInterruptedStaysSo(t *testing.T) {
	l := configured(t)
	l.idle("n1")
	if _, err := l.store.Editor.Drain(t.Context(), l.config(), "default", config.Note{Who: "another"}); err != nil {
		t.Fatal(err)
	}
	ctx, interrupt := context.WithCancel(t.Context())
	ended := l.removing(ctx)
	interrupt()
	(<-ended).exits(exitError).complains("interrupted", "is draining, and stays so")
	if !l.config().Pools["default"].Draining {
		t.Error("who had drained it before is overruled")
	}
}

func TestAnIdlePoolThatSomebodyTakesBackIntoUseIsNotRemovedAndHisChangeStands(t *testing.T) {
	l := configured(t)
	l.idle("n1")
	ended := l.removing(t.Context())
	l.ctl("apply", "-f", file(t, smallest+"    draining: false\n    mtu: 1400\n")).exits(exitDone)
	changes := len(l.entries())
	(<-ended).ends(exitError).complains("is in use", "1 owned block")
	if pool := l.config().Pools["default"]; pool.Draining || pool.MTU != 1400 || len(l.entries()) != changes {
		t.Errorf("the pool is %+v, after %d changes: want it as the other has made it", pool, len(l.entries()))
	}
}
