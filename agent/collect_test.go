package agent

import (
	"context"
	"errors"
	"testing"

	"github.com/berth-ipam/berth/agent/attach"
	"github.com/berth-ipam/berth/agent/journal"
	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/wire"
)

func TestNoAttachmentIsCollectedWhileARequestIsAtWorkOnIt(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	r.add(c)
	at := attachmentOf(c)
	gone := attach.Evidence{Name: "test", Taken: clock.Boottime(), Gone: func(*journal.Entry) bool { return true }}
	unlock, err := r.agent.Locks.Lock(t.Context(), at) // the request's
	check(t, err)
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if err := r.agent.detacher.Collect(over, at, gone); !errors.Is(err, context.Canceled) || r.agent.Journal.Get(at) == nil {
		t.Errorf("it was collected beside the request: %v", err)
	}
	unlock()
	check(t, r.agent.detacher.Collect(t.Context(), at, gone))
	if r.agent.Journal.Get(at) != nil {
		t.Error("it was not collected after the request")
	}
	r.empty()
}

func TestADeleteThatDoesNotSayWhenItBeganEndsThePresentAttachment(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	_, err := r.send(since(clock.Boottime(), wire.Insert, c))
	check(t, err)
	_, err = r.send(since(0, wire.Delete, c))
	check(t, err)
	if e := r.agent.Journal.Get(attachmentOf(c)); e != nil {
		t.Errorf("it has %+v still", e)
	}
}
