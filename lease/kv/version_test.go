package kv_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
)

func TestOnlyReleasesOfEtcdThatARightCanRestUponAreTaken(t *testing.T) {
	for version, want := range map[string]bool{
		"3.3.99": false, "3.4.41": false, "3.4.42": true, "3.5.27": false, "3.5.28": true, "3.5.99": true, "3.6.8": false, "3.6.9": true,
		"3.6.9-rc.0": false, "3.6.10-rc.0": true, "3.7.0-rc.1": false, "3.7.0": true, "3.7.3": true, "3.8.0-alpha.0": true,
		"4.0.0": true, "2.3.8": false, "": false, "3.6": false, "3.x.1": false, "3.6.-9": false,
	} {
		if got := kv.ProofFloor.Admits(version); got != want {
			t.Errorf("etcd %q is taken: %v, want %v", version, got, want)
		}
	}
	l := lab.New(t)
	warnings, err := l.Store().KV.CheckRelease(t.Context())
	l.Check(err)
	if len(warnings) > 0 {
		t.Errorf("it warns of the etcd of the tests: %v", warnings[0])
	}
}

func TestAReleaseWhoseUsersCanBeEvadedIsWarnedOfWhereThereAreUsers(t *testing.T) {
	for version, want := range map[string]bool{
		"3.4.99": false, "3.5.32": false, "3.5.33": true, "3.6.13": false, "3.6.14": true, "3.7.0": false, "3.7.1": true, "3.8.0": true,
	} {
		if got := kv.AuthFloor.Admits(version); got != want {
			t.Errorf("etcd %q has sound users: %v, want %v", version, got, want)
		}
	}
	l := lab.New(t)
	s := l.Store(func(o *kv.Options) {
		o.Endpoints = []string{o.Endpoints[0], "http://127.0.0.1:1", "http://127.0.0.1:2"}
	})
	client, err := s.KV.Etcd(t.Context())
	l.Check(err)
	away := errors.New("away")
	warnings, err := s.KV.JudgeReleases(t.Context(), client, []string{"3.6.13", "", ""}, []error{nil, away, rpctypes.ErrPermissionDenied})
	l.Check(err)
	if len(warnings) != 1 || warnings[0].Endpoint != "http://127.0.0.1:2" || !lab.Contains(warnings[0], "does not tell its version") {
		t.Errorf("without users it warns of %v: want the one that does not tell", warnings)
	}
	s.KV.Options().User = "berth"
	warnings, err = s.KV.JudgeReleases(t.Context(), client, []string{"3.6.13", "", ""}, []error{nil, away, away})
	l.Check(err)
	if len(warnings) != 1 || !lab.Contains(warnings[0], "3.6.13") || !lab.Contains(warnings[0], "CVE-2026-33343") ||
		!lab.Contains(warnings[0], "3.5.33, 3.6.14, 3.7.1") {
		t.Errorf("with users it warns of %v: want the first", warnings)
	}
	if _, err = s.KV.JudgeReleases(t.Context(), client, []string{"3.6.14", "3.6.8", ""}, []error{nil, nil, away}); err == nil ||
		!strings.Contains(err.Error(), "3.4.42, 3.5.28, 3.6.9, 3.7.0") {
		t.Errorf("one of three is too old: %v", err)
	}
}

func TestWhetherEtcdHasUsersIsAskedOfEtcd(t *testing.T) {
	l := lab.New(t)
	s := l.Store()
	client, err := s.KV.Etcd(t.Context())
	l.Check(err)
	if s.KV.HasUsers(t.Context(), client) {
		t.Error("an etcd without users has some")
	}
	l.Own()
	withUsers(l, "secret")
	s = l.Store()
	client, err = s.KV.Etcd(t.Context())
	l.Check(err)
	if !s.KV.HasUsers(t.Context(), client) {
		t.Error("an etcd with users has none, says who has no name")
	}
}

func TestTheDocumentsNameTheFloorsThatHold(t *testing.T) {
	manual, err := os.ReadFile("../../docs/etcd.md")
	if err != nil {
		t.Fatal(err)
	}
	for minor := 4; minor <= kv.ProofFloor.Newest(); minor++ {
		users := "never"
		if patch, listed := kv.AuthFloor[minor]; listed {
			users = fmt.Sprintf("3.%d.%d", minor, patch)
		}
		if row := fmt.Sprintf("| 3.%d | 3.%d.%d | %s |", minor, minor, kv.ProofFloor[minor], users); !strings.Contains(string(manual), row) {
			t.Errorf("docs/etcd.md has no row %q", row)
		}
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"3.4.42, 3.5.28, 3.6.9 or a later one", kv.AuthFloor.String()} {
		if !strings.Contains(strings.Join(strings.Fields(string(readme)), " "), want) {
			t.Errorf("README.md does not say %q", want)
		}
	}
}
