package record_test

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/allocator/ipam"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
	"github.com/berth-ipam/berth/lease/record"
)

func TestWhatAKeySaysIsNotInItsValue(t *testing.T) {
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for want, value := range map[string]any{
		`{"since":"2026-01-01T00:00:00Z"}`:        record.Presence{Node: "n1", Since: now, Revision: 7},
		`{"prefix":"10.0.0.0/26","parts":null}`:   record.Block{Pool: "p", Prefix: lab.Prefix("10.0.0.0/26"), Revision: 7},
		`{"v4":1,"since":"2026-01-01T00:00:00Z"}`: record.Demand{Pool: "p", Node: "n1", V4: 1, Since: now, Revision: 7},
	} {
		if got := kv.Encode(value); got != want {
			t.Errorf("written is %s, want %s", got, want)
		}
	}
}

func TestAChangeIsWrittenForPeople(t *testing.T) {
	for want, c := range map[string]record.Change{
		"pool p: mtu: none -> 1400": {Object: "pool p", Field: "mtu", After: "1400"},
		"pool p: mtu: 1400 -> none": {Object: "pool p", Field: "mtu", Before: "1400"},
	} {
		if got := c.String(); got != want {
			t.Errorf("written is %q, want %q", got, want)
		}
	}
}

func TestAChangeThatFreesFormerGatewaysAloneIsNoPersons(t *testing.T) {
	freed := record.Change{Object: record.FormerGateways}
	objects := record.Objects{Pools: []allocator.Pool{{}}}
	settings := record.Objects{Settings: &record.Settings{}}
	for _, c := range []struct {
		entry record.HistoryEntry
		want  bool
	}{
		{record.HistoryEntry{Changes: []record.Change{freed, freed}}, true},
		{record.HistoryEntry{}, false},
		{record.HistoryEntry{Changes: []record.Change{freed, {Object: "pool p"}}}, false},
		{record.HistoryEntry{Changes: []record.Change{freed}, Before: objects}, false},
		{record.HistoryEntry{Changes: []record.Change{freed}, After: objects}, false},
		{record.HistoryEntry{Changes: []record.Change{freed}, Before: settings}, false},
		{record.HistoryEntry{Changes: []record.Change{freed}, After: settings}, false},
	} {
		if got := c.entry.FreesOnly(); got != c.want {
			t.Errorf("%+v only frees: %t, want %t", c.entry, got, c.want)
		}
	}
}

func TestRecordsAreInTheOrderOfPoolsAndThenOfAddresses(t *testing.T) {
	all := []ipam.Address{
		{Pool: "b", Addr: lab.Addr("10.0.0.1")}, {Pool: "a", Addr: lab.Addr("10.0.0.10")}, {Pool: "a", Addr: lab.Addr("10.0.0.9")},
	}
	want := []ipam.Address{all[2], all[1], all[0]}
	record.SortBy(all, func(a ipam.Address) (string, netip.Addr) { return a.Pool, a.Addr })
	if !slices.Equal(all, want) {
		t.Errorf("the order is %v, want %v", all, want)
	}
	if got, want := (record.Block{Pool: "p", Prefix: lab.Prefix("10.0.0.0/26")}).ID(), (ipam.BlockID{Pool: "p",
		Prefix: lab.Prefix("10.0.0.0/26")}); got != want {
		t.Errorf("the block's id is %v, want %v", got, want)
	}
}

func TestAStatusSaysWhetherItNamesAllThatLag(t *testing.T) {
	lags := []record.Lag{{Reason: "mtu"}, {Reason: "route", Remake: true}}
	for _, c := range []struct {
		lagging, remake int
		all, live       bool
	}{
		{2, 1, true, true},
		{3, 2, false, true},  // one more that must be made anew
		{3, 1, false, false}, // one more that lags live
	} {
		s := record.Status{Lagging: lags, LaggingCount: c.lagging, RemakeCount: c.remake}
		if s.AllNamed(false) != c.all || s.AllNamed(true) != c.live {
			t.Errorf("of %d, %d of which to be made anew: all are named %t, those that lag live %t", c.lagging, c.remake,
				s.AllNamed(false), s.AllNamed(true))
		}
	}
}

func TestAStatefulMembersReservationIsFoundByWhatTheJournalHas(t *testing.T) {
	h := record.HeldAttachment{Attachment: allocator.Attachment{Network: "net", Container: "c", Interface: "eth0"},
		App: allocator.App{Namespace: "ns", Name: "db"}, Member: "db-0"}
	want := allocator.Identity{Namespace: "ns", App: "db", Member: "db-0", Network: "net", Interface: "eth0"}
	if got := h.Identity(); got != want {
		t.Errorf("the identity is %+v, want %+v", got, want)
	}
}

func TestAnAnswerThatIsTooLongCountsWhatItLeavesOut(t *testing.T) {
	read := func(a record.NodeReport) (got record.NodeReport, length int) {
		text := a.Text()
		if err := json.Unmarshal([]byte(text), &got); err != nil {
			t.Fatal(err)
		}
		return got, len(text)
	}
	var long record.NodeReport
	for i := range 10_000 {
		long.Attachments = append(long.Attachments, record.HeldAttachment{Port: fmt.Sprint("port", i)})
		long.Ports = append(long.Ports, record.HeldPort{Name: fmt.Sprint("port", i)})
		long.Notes = append(long.Notes, record.BadNote{Path: fmt.Sprint("note", i)})
	}
	got, length := read(long)
	if length > record.MaxAnswer || length < record.MaxAnswer/2 {
		t.Errorf("it has %d bytes: want at most %d, and not much less", length, record.MaxAnswer)
	}
	if len(got.Attachments)+got.More.Attachments != 10_000 || len(got.Ports)+got.More.Ports != 10_000 ||
		len(got.Notes)+got.More.Notes != 10_000 || got.More.Attachments == 0 || got.Attachments[0].Port != "port0" {
		t.Errorf("it has %d attachments, %d ports, %d notes, and counts %+v more", len(got.Attachments), len(got.Ports), len(got.Notes), got.More)
	}
	exact := record.NodeReport{Notes: []record.BadNote{{}}}
	exact.Notes[0].Reason = strings.Repeat("a", record.MaxAnswer-len(exact.Text()))
	if got, length := read(exact); length != record.MaxAnswer || got.More.Notes != 0 {
		t.Errorf("one of just the length that may be has %d bytes, and counts %+v more", length, got.More)
	}
	spaces := record.NodeReport{Version: strings.Repeat("a", record.MaxAnswer)} // nothing in it can be left out
	if got, _ := read(spaces); got.Version != spaces.Version {
		t.Error("something is missing")
	}
}
