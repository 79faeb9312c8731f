package allocator

import (
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
)

func addr(s string) netip.Addr     { return netip.MustParseAddr(s) }
func prefix(s string) netip.Prefix { return netip.MustParsePrefix(s) }

func ranged(s string) Range {
	var r Range
	if err := r.UnmarshalText([]byte(s)); err != nil {
		panic(err)
	}
	return r
}

func TestARangeIsReadAndWritten(t *testing.T) {
	for _, c := range []struct{ text, from, to, written string }{
		{"10.42.0.7", "10.42.0.7", "10.42.0.7", "10.42.0.7"},
		{"10.42.0.7/32", "10.42.0.7", "10.42.0.7", "10.42.0.7"},
		{"10.42.0.7-10.42.0.20", "10.42.0.7", "10.42.0.20", "10.42.0.7-10.42.0.20"},
		{"10.42.1.0/24", "10.42.1.0", "10.42.1.255", "10.42.1.0/24"},
		{"10.42.1.0-10.42.1.255", "10.42.1.0", "10.42.1.255", "10.42.1.0/24"},
		{"0.0.0.0/0", "0.0.0.0", "255.255.255.255", "0.0.0.0/0"},
		{"fd00::1", "fd00::1", "fd00::1", "fd00::1"},
		{"fd00::-fd00::ffff", "fd00::", "fd00::ffff", "fd00::/112"},
		{"::/80", "::", "::ffff:ffff:ffff", "::/80"},
		{"fd00::/8", "fd00::", "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", "fd00::/8"},
	} {
		var r Range
		if err := r.UnmarshalText([]byte(c.text)); err != nil {
			t.Errorf("%s: %v", c.text, err)
			continue
		}
		if want := (Range{addr(c.from), addr(c.to)}); r != want || r.String() != c.written {
			t.Errorf("%s is %v to %v, written %s; want %v to %v, %s", c.text, r.From, r.To, r, c.from, c.to, c.written)
		}
	}
}

func TestAWrongRangeIsRefusedWithWordsThatHelp(t *testing.T) {
	for text, words := range map[string]string{
		"":                        "unable to parse",
		"10.42.0.300":             "10.42.0.300",
		"x-fd00::1":               `"x"`,
		"10.42.0.7-":              "unable to parse",
		"10.42.0.9-10.42.0.7":     "want 10.42.0.7-10.42.0.9",
		"10.42.0.9-fd00::1":       "different families",
		"10.42.0.9/24":            "want 10.42.0.0/24",
		"10.42.0.0/33":            "prefix length",
		"fe80::1%eth0":            "zone",
		"::ffff:10.42.0.7":        "want 10.42.0.7",
		"::ffff:10.42.0.0/120":    "want IPv4",
		"10.42.0.1-10.42.0.2-3":   "10.42.0.2-3",
		"10.42.0.0/24-10.42.0.99": "10.42.0.0/24-10.42.0.99",
	} {
		var r Range
		err := r.UnmarshalText([]byte(text))
		if err == nil || !strings.Contains(err.Error(), words) || r != (Range{}) {
			t.Errorf("%q: got %v and error %v, want an error with %q", text, r, err, words)
		}
	}
}

func FuzzARangeSurvivesWritingAndReading(f *testing.F) {
	for _, s := range []string{"10.42.0.7", "10.42.0.7-10.42.0.20", "10.42.1.0/24", "fd00::/64", "fd00::1-fd00::f", "::/0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var r, again Range
		if r.UnmarshalText([]byte(text)) != nil {
			return
		}
		if !r.Contains(r.From) || !r.Contains(r.To) {
			t.Fatalf("%q: %v does not hold its own ends", text, r)
		}
		written, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(written, &again); err != nil || again != r {
			t.Fatalf("%q became %s and then %v, error %v", text, written, again, err)
		}
	})
}
