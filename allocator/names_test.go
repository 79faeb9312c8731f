package allocator

import (
	"strings"
	"testing"
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
