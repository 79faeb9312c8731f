package allocator

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

func TestANameThatNoKeyCouldHoldIsRefused(t *testing.T) {
	for name, words := range map[string]string{
		"": "network is missing", "a/b": `network "a/b"`, "..": "letter or digit", "-a": "letter or digit", "a b": "letter or digit",
		"a\x00": "letter or digit", "ä": "letter or digit", strings.Repeat("a", 254): "254 bytes",
	} {
		for _, err := range []error{
			ValidName("network", name),
			Attachment{name, "c", "eth0"}.Validate(),
			Identity{"ns", "app", "app-0", name, "eth0"}.Validate(),
		} {
			if err == nil || !strings.Contains(err.Error(), words) {
				t.Errorf("%q: got error %v, want one with %q", name, err, words)
			}
		}
	}
	for _, name := range []string{"a", "9", "web-0", "a_b.c", strings.Repeat("a", 253)} {
		if err := ValidName("network", name); err != nil {
			t.Error(err)
		}
	}
}

func TestEveryNameOfAnAttachmentAndOfAnIdentityIsValidated(t *testing.T) {
	for words, err := range map[string]error{
		"container ID is missing":   Attachment{"net", "", "eth0"}.Validate(),
		"interface name is missing": Attachment{"net", "c", ""}.Validate(),
		"namespace is missing":      Identity{"", "app", "app-0", "net", "eth0"}.Validate(),
		"app is missing":            Identity{"ns", "", "app-0", "net", "eth0"}.Validate(),
		"member is missing":         Identity{"ns", "app", "", "net", "eth0"}.Validate(),
		`interface name "a/b"`:      Identity{"ns", "app", "app-0", "net", "a/b"}.Validate(),
	} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("got error %v, want one with %q", err, words)
		}
	}
}

func TestNamesAreWrittenForPeople(t *testing.T) {
	for _, c := range []struct {
		name fmt.Stringer
		want string
	}{
		{Attachment{"net", "c1", "eth0"}, "net/c1/eth0"},
		{App{"shop", "web"}, "shop/web"},
		{App{}, ""},
		{Identity{"shop", "db", "db-0", "net", "eth0"}, "shop/db/db-0"},
		{Workload{Namespace: "shop", Name: "web-1"}, "shop/web-1"},
		{Workload{Name: "web-1"}, "web-1"},
		{Workload{Namespace: "shop"}, ""},
		{Duration(90 * time.Second), "1m30s"},
	} {
		if got := c.name.String(); got != c.want {
			t.Errorf("%#v is written %q, want %q", c.name, got, c.want)
		}
	}
}

func TestADurationIsReadAsItIsWritten(t *testing.T) {
	text, err := Duration(90 * time.Minute).MarshalText()
	if err != nil || string(text) != "1h30m0s" {
		t.Errorf("written is %q, error %v", text, err)
	}
	var d Duration
	if err := d.UnmarshalText(text); err != nil || d != Duration(90*time.Minute) {
		t.Errorf("read is %s, error %v", d, err)
	}
	if err := d.UnmarshalText([]byte("5 minutes")); err == nil || d != Duration(90*time.Minute) {
		t.Errorf("a wrong one is read as %s, error %v", d, err)
	}
}

func TestAnInterfaceNameIsTheKernels(t *testing.T) {
	for name, good := range map[string]bool{
		"eth0": true, "a": true, "exactly15bytes_": true, "net-1.100": true,
		"": false, ".": false, "..": false, "a/b": false, "a:b": false, "a b": false, "sixteen_bytes__x": false, "a\x7f": false, "ä": false,
	} {
		a := Attachment{"net", "c1", name}
		if err := a.Validate(); (err == nil) != good {
			t.Errorf("%q: error %v", name, err)
		}
	}
}

func TestAClassIsOneOfTwo(t *testing.T) {
	for word, want := range map[string]Class{"": Stateless, "stateless": Stateless, "stateful": Stateful} {
		if got, err := ParseClass(word); got != want || err != nil {
			t.Errorf("%q: %q, error %v", word, got, err)
		}
	}
	if _, err := ParseClass("Stateful"); err == nil || !strings.Contains(err.Error(), `want "stateless" or "stateful"`) {
		t.Errorf("got error %v", err)
	}
}
