package main

import (
	"testing"

	"github.com/berth-ipam/berth/lease/record"
)

func TestStatusNamesWhatVersionNames(t *testing.T) {
	l := configured(t)
	first, _ := l.running("n1", "10.42.64.0/26")
	l.running("n2", "10.42.65.0/26")
	var s status
	l.ctl("status", "-o", "json").exits(exitDone).into(&s)
	if !s.Complete || s.UpToDate != 2 || s.Total != 2 || len(s.WaitingFor)+len(s.Lagging) != 0 {
		t.Errorf("status is %+v", s)
	}
	l.ctl("apply", "-f", file(t, smallest+"    mtu: 1400\n")).exits(exitDone)
	revision := l.config().Revision
	l.report(first, record.Status{Applied: revision, Revision: revision})
	s = status{}
	l.ctl("status", "-o", "json").exits(exitDone).into(&s)
	if s.Complete || s.Revision != revision || s.UpToDate != 1 || s.Total != 2 || len(s.WaitingFor) != 1 || s.WaitingFor[0].Node != "n2" {
		t.Errorf("status is %+v", s)
	}
	if len(s.Lagging) != 1 || s.Lagging[0].ID != "n2-container" || s.Lagging[0].Reason == "" {
		t.Errorf("what lags is %+v", s.Lagging)
	}
	l.ctl("status").exits(exitDone).says("complete: no, 1 of 2", "waiting for n2", "LAGGING", "n2-container")
	l.ctl("version").exits(exitIncomplete).says("complete: no, 1 of 2", "n2-container")
}
