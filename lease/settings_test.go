package lease

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/allocator"
)

func TestTheDefaultSettingsAreValid(t *testing.T) {
	if err := DefaultSettings().Validate(); err != nil {
		t.Error(err)
	}
}

func TestBadSettingsAreToldWithWhatWouldBeRight(t *testing.T) {
	for want, change := range map[string]func(*Settings){
		"want some of read, insert, delete": func(s *Settings) { s.Operations = []string{"read", "write"} },
		"twice":                             func(s *Settings) { s.Operations = []string{"read", "read"} },
		`want "evidence" or "strict"`:       func(s *Settings) { s.Fencing = "lax" },
		"want 2s or more":                   func(s *Settings) { s.Session = allocator.Duration(time.Second) },
		"want 6s or more":                   func(s *Settings) { s.AddressLease = allocator.Duration(5 * time.Second) },
		"shorter than session":              func(s *Settings) { s.Session = allocator.Duration(2 * time.Hour) },
	} {
		s := DefaultSettings()
		change(&s)
		if err := s.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: the error does not say %q: %v", s, want, err)
		}
	}
}

func TestNoOperationAtAllIsASetting(t *testing.T) {
	s := DefaultSettings()
	s.Operations = nil
	if err := s.Validate(); err != nil {
		t.Error(err)
	}
}
