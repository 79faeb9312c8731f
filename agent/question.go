package agent

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/server"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// answerPause is how long an agent waits before it tries again to answer, where its session has changed meanwhile.
const answerPause = 200 * time.Millisecond

// followQuestions answers whatever an operator's tool asks all agents.
func (a *Agent) followQuestions(ctx context.Context) error {
	var answering sync.WaitGroup
	defer answering.Wait()
	return admin.FollowRequests(ctx, a.store.KV, func(q record.ReportRequest) {
		answering.Go(func() { a.answerQuestion(ctx, q) }) // there are few at a time: the store bounds them
	})
}

// answerQuestion answers as long as somebody waits. The node may just be joining: then it has no session to answer by.
func (a *Agent) answerQuestion(ctx context.Context, q record.ReportRequest) {
	ctx, cancel := context.WithTimeout(ctx, server.RequestTime)
	defer cancel()
	if slices.Contains(q.Repair, a.Node) {
		a.Log.Info("asked to settle anew", zap.String("by", q.Who))
		a.mend(ctx)
	}
	for ctx.Err() == nil {
		session, answer, err := a.holdingsNow()
		if err == nil && session != nil {
			err = admin.Report(ctx, session, q, answer)
			if err == nil || errors.Is(err, admin.ErrWithdrawn) {
				return
			}
		}
		if err != nil {
			a.Log.Debug("cannot answer a question yet", zap.Error(err))
		}
		task.Pause(ctx, answerPause)
	}
}

// holdingsNow is what journal, kernel and allocator hold at one instant: nothing commits, is given back or settles
// meanwhile.
func (a *Agent) holdingsNow() (session *session.Session, answer record.NodeReport, err error) {
	a.gate.Exclusive(func() {
		session = a.gate.SessionLocked()
		answer, err = a.holdingsAlone()
	})
	return session, answer, err
}

func (a *Agent) holdingsAlone() (record.NodeReport, error) {
	answer := record.NodeReport{Version: a.Version, Applied: a.lagging.revision(), Unpublished: a.backlog.len(),
		Undetached: len(a.journal.Pending())}
	answer.Attachments = a.heldAttachments()
	var err error
	if answer.Ports, err = a.heldPorts(answer.Attachments); err != nil {
		return answer, err
	}
	answer.Spaces = a.heldSpaces()
	answer.Notes, err = a.badNotes()
	return answer, err
}

func (a *Agent) heldAttachments() []record.HeldAttachment {
	all := []record.HeldAttachment{}
	for _, e := range a.journal.Entries() {
		all = append(all, record.HeldAttachment{
			Attachment: e.Attachment, Role: e.Role, Class: e.Class, Pool: e.Pool, Addresses: e.Addresses, App: e.App, Member: e.Member,
			Epoch: e.Epoch, Since: e.Since, Answered: e.Answered != 0, Port: e.Wiring.Port, Isolated: isolationOf(e),
		})
	}
	slices.SortFunc(all, func(x, y record.HeldAttachment) int { return cmp.Compare(x.Attachment.String(), y.Attachment.String()) })
	return all
}

// heldPorts joins the links with the classes' members. What no attachment is to have, its alias tells of.
func (a *Agent) heldPorts(attachments []record.HeldAttachment) ([]record.HeldPort, error) {
	links, err := a.kernel.Ports()
	if err != nil {
		return nil, err
	}
	classes, err := a.kernel.Classes()
	if err != nil {
		return nil, err
	}
	wanted := map[string]bool{}
	for _, h := range attachments {
		wanted[h.Port] = true
	}
	all := []record.HeldPort{}
	for _, l := range links {
		p := record.HeldPort{Name: l.Name, Class: classes[l.Name]}
		if !wanted[l.Name] {
			p.Alias = l.Alias
		}
		all = append(all, p)
		delete(classes, l.Name)
	}
	for name, class := range classes {
		all = append(all, record.HeldPort{Name: name, Class: class, Gone: true})
	}
	slices.SortFunc(all, func(x, y record.HeldPort) int { return cmp.Compare(x.Name, y.Name) })
	return all, nil
}

func (a *Agent) heldSpaces() []record.HeldSpace {
	all := []record.HeldSpace{}
	a.pools.each(func(k spaceKey, s *allocator.Space) {
		c := s.Counts()
		all = append(all, record.HeldSpace{
			Pool: k.pool, Family: k.family.String(), Parts: s.Parts(),
			Free: c.Free, Released: c.Released, Quarantined: c.Quarantined, Held: c.Held, Excluded: c.Excluded,
		})
	})
	slices.SortFunc(all, func(x, y record.HeldSpace) int {
		return cmp.Or(cmp.Compare(x.Pool, y.Pool), cmp.Compare(x.Family, y.Family))
	})
	return all
}

func (a *Agent) badNotes() (bad []record.BadNote, err error) {
	notes, err := wire.ReadNotes(a.spool())
	for _, n := range notes {
		if n.Err != nil {
			bad = append(bad, record.BadNote{Path: n.Path, Reason: n.Err.Error()})
		}
	}
	return bad, err
}
