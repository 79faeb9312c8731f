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
		"shorter than session":              func(s *record.Settings) { s.Session = allocator.Duration(2 * time.Hour) },
	} {
		s := record.DefaultSettings()
		change(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: the error does not say %q: %v", s, want, err)
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
