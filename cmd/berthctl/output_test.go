package main

import (
	"bytes"
	"encoding/json"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

func TestAnAgeIsWrittenInItsTwoLargestUnits(t *testing.T) {
	now := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 0: "0s", 59 * time.Second: "59s", 3*time.Minute + 12*time.Second: "3m12s",
		2*time.Hour + 5*time.Minute + time.Second: "2h5m", 98 * time.Hour: "4d2h",
	} {
		if got := age(now, now.Add(-d)); got != want {
			t.Errorf("%s: got %s, want %s", d, got, want)
		}
	}
}

func TestASpanIsWrittenAsPeopleWriteIt(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 10 * time.Second: "10s", 10 * time.Minute: "10m", time.Hour: "1h", 90 * time.Minute: "1h30m",
		time.Hour + time.Second: "1h0m1s", 20 * time.Hour: "20h", 720 * time.Hour: "720h", 100 * time.Millisecond: "100ms",
	} {
		if got := span(allocator.Duration(d)); got != want {
			t.Errorf("%s: got %s, want %s", d, got, want)
		}
	}
}

func TestASummaryNamesObjectsAndTheirFields(t *testing.T) {
	changes := []record.Change{
		{Object: "settings", Field: "session", Before: "15s", After: "20s"},
		{Object: "pool a", Field: "mtu", After: "1400"}, {Object: "pool a", Field: "routes", After: "[]"},
		{Object: "pool b", Field: "cidrs", After: "[]"}, {Object: "pool b", Field: "name", After: "b"},
		{Object: "pool b", Field: "reuse", After: "1s"},
		{Object: "pool c", Field: "cidrs", Before: "[]"}, {Object: "pool c", Field: "name", Before: "c"},
	}
	if got, want := summary(changes), "settings (session); pool a (mtu, routes); pool b (new); pool c (removed)"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestYAMLSaysTheSameAsJSON(t *testing.T) {
	value := map[string]any{
		"word": "a", "number like": "12", "truth like": "yes", "null like": "null", "time like": "2026-01-31", "empty": "",
		"large": int64(1) << 60, "list": []any{}, "map": map[string]any{"b": []any{"<&>", "line\nbreak", "a: b", "# c"}}, "none": nil,
		"true": true,
	}
	var out bytes.Buffer
	if err := writeYAML(&out, value); err != nil {
		t.Fatal(err)
	}
	var back map[string]any
	if err := yaml.Unmarshal(out.Bytes(), &back); err != nil {
		t.Fatal(err)
	}
	want, _ := json.Marshal(value)
	got, err := json.Marshal(back)
	if err != nil || string(got) != string(want) {
		t.Errorf("%v\n%s\nread back: %s\nwant:      %s", err, out.String(), got, want)
	}
}
