package report

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"github.com/berth-ipam/berth/agent/addresses"
	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/internal/task"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/admin"
	"github.com/berth-ipam/berth/lease/record"
	"github.com/berth-ipam/berth/lease/session"
)

// answerPause is how long an agent waits before it tries again to answer, after its session has changed.
const answerPause = 200 * time.Millisecond

// Run answers the requests for a node report, until ctx ends.
func (re *Reporter) Run(ctx context.Context) error {
	var answering sync.WaitGroup
	defer answering.Wait()
	return admin.FollowRequests(ctx, re.Store.KV, func(q record.ReportRequest) {
		answering.Go(func() { re.answerRequest(ctx, q) }) // the store bounds how many there are
	})
}

// answerRequest answers one request, while its caller waits. A node that is joining has no session to answer by, and waits for
// one.
func (re *Reporter) answerRequest(ctx context.Context, q record.ReportRequest) {
	ctx, cancel := context.WithTimeout(ctx, wire.RequestTime)
	defer cancel()
	if slices.Contains(q.Repair, re.Name) {
		re.Log.Info("asked to settle again", zap.String("by", q.Who))
		re.detacher.Repair(ctx)
	}
	for ctx.Err() == nil {
		session, answer, err := re.holdingsNow()
		if err == nil && session != nil {
			err = admin.Report(ctx, session, q, answer)
			if err == nil || errors.Is(err, admin.ErrWithdrawn) {
				return
			}
		}
		if err != nil {
			re.Log.Debug("cannot answer a question yet", zap.Error(err))
		}
		task.Pause(ctx, answerPause)
	}
}

// holdingsNow is what journal, kernel and allocator hold at one instant: nothing commits, is released or settles meanwhile.
func (re *Reporter) holdingsNow() (session *session.Session, answer record.NodeReport, err error) {
	re.Gate.Exclusive(func() {
		session = re.Gate.SessionLocked()
		answer, err = re.holdingsAlone()
	})
	return session, answer, err
}

func (re *Reporter) holdingsAlone() (record.NodeReport, error) {
	answer := record.NodeReport{Version: re.Version, Applied: re.updater.Lagging.Revision(), Unpublished: re.backlog.Len(),
		Undetached: len(re.Journal.Pending())}
	answer.Attachments = re.heldAttachments()
	var err error
	if answer.Ports, err = re.heldPorts(answer.Attachments); err != nil {
		return answer, err
	}
	answer.Spaces = re.heldSpaces()
	answer.Notes, err = re.badNotes()
	return answer, err
}

func (re *Reporter) heldAttachments() []record.HeldAttachment {
	all := []record.HeldAttachment{}
	for _, e := range re.Journal.Entries() {
		all = append(all, record.HeldAttachment{
			Attachment: e.Attachment, Role: e.Role, Class: e.Class, Pool: e.Pool, Addresses: e.Addresses, App: e.App, Member: e.Member,
			Epoch: e.Epoch, Since: e.Since, Answered: e.Answered != 0, Port: e.Wiring.Port, Isolated: e.IsolatedWhy(),
		})
	}
	slices.SortFunc(all, func(x, y record.HeldAttachment) int { return cmp.Compare(x.Attachment.String(), y.Attachment.String()) })
	return all
}

// heldPorts joins the links with the classes' members. A port that no attachment should have is named by its alias.
func (re *Reporter) heldPorts(attachments []record.HeldAttachment) ([]record.HeldPort, error) {
	links, err := re.Kernel().Ports()
	if err != nil {
		return nil, err
	}
	classes, err := re.Kernel().Classes()
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

func (re *Reporter) heldSpaces() []record.HeldSpace {
	all := []record.HeldSpace{}
	re.addresses.Pools.Each(func(k addresses.SpaceKey, s *allocator.Space) {
		c := s.Counts()
		all = append(all, record.HeldSpace{
			Pool: k.Pool, Family: k.Family.String(), Parts: s.Parts(),
			Free: c.Free, Released: c.Released, Quarantined: c.Quarantined, Held: c.Held, Excluded: c.Excluded,
		})
	})
	slices.SortFunc(all, func(x, y record.HeldSpace) int {
		return cmp.Or(cmp.Compare(x.Pool, y.Pool), cmp.Compare(x.Family, y.Family))
	})
	return all
}

func (re *Reporter) badNotes() (bad []record.BadNote, err error) {
	notes, err := wire.ReadNotes(re.Disk, re.Spool())
	for _, n := range notes {
		if n.Err != nil {
			bad = append(bad, record.BadNote{Path: n.Path, Reason: n.Err.Error()})
		}
	}
	return bad, err
}
