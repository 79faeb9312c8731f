package record_test

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

func TestTheDefaultSettingsAreValid(t *testing.T) {
	if err := record.DefaultSettings().Validate(); err != nil {
		t.Error(err)
	}
}

func TestBadSettingsAreReportedWithWhatWouldBeRight(t *testing.T) {
	for want, change := range map[string]func(*record.Settings){
		"want some of read, insert, delete": func(s *record.Settings) { s.Operations = []string{"read", "write"} },
		"twice":                             func(s *record.Settings) { s.Operations = []string{"read", "read"} },
		`want "evidence" or "strict"`:       func(s *record.Settings) { s.Fencing = "lax" },
		"want 2s or more":                   func(s *record.Settings) { s.Session = allocator.Duration(time.Second) },
		"want 6s or more":                   func(s *record.Settings) { s.AddressLease = allocator.Duration(5 * time.Second) },
		"want 876000h0m0s at most":          func(s *record.Settings) { s.AddressLease = allocator.MaxTime + 1 },
		"shorter than session":              func(s *record.Settings) { s.Session = allocator.Duration(2 * time.Hour) },
	} {
		s := record.DefaultSettings()
		change(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: the error does not say %q: %v", s, want, err)
		}
	}
}

func TestTimesMayBeAtTheirBounds(t *testing.T) {
	for _, c := range []struct{ session, lease allocator.Duration }{
		{allocator.Duration(2 * time.Second), allocator.Duration(6 * time.Second)},
		{allocator.Duration(6 * time.Second), allocator.Duration(6 * time.Second)},
		{allocator.Duration(time.Minute), allocator.MaxTime},
	} {
		s := record.DefaultSettings()
		if s.Session, s.AddressLease = c.session, c.lease; s.Validate() != nil {
			t.Error(s.Validate())
		}
	}
}

func TestANodeFencesOtherwiseWhereTheModeOrATimeIsAnother(t *testing.T) {
	for changes, change := range map[bool][]func(*record.Settings){
		false: {
			func(s *record.Settings) { s.Fencing = record.FencingStrict },
			func(s *record.Settings) { s.Session++ },
			func(s *record.Settings) { s.AddressLease++ },
		},
		true: {func(s *record.Settings) { s.Operations, s.Probe, s.StatusExhausted = nil, record.ProbeOff, true },
			func(s *record.Settings) { s.VXLAN.Port = 8472 }},
	} {
		for _, c := range change {
			s := record.DefaultSettings()
			if c(&s); record.SameTimes(s, record.DefaultSettings()) != changes {
				t.Errorf("%+v fences as by default: want %t", s, changes)
			}
		}
	}
}

func TestNoOperationAtAllIsASetting(t *testing.T) {
	s := record.DefaultSettings()
	s.Operations = nil
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
}
