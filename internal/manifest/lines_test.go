package manifest

import (
	"strings"
	"testing"
)

func TestAFaultIsNamedWithTheLineOfItsKey(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"pools:\n- name: a\n  cidrs: [10.42.0.0/16]\n  gateways: [10.43.0.1]\n", "f.yaml:4: "},
		{"pools:\n- name: a\n  cidrs: [10.42.0.0/16]\n  mtu: 1\n", "f.yaml:4: "},
		{"pools:\n- name: a\n  cidrs: [10.42.0.0/16]\n  stateful: [10.43.0.0/20]\n", "f.yaml:4: "},
		{"settings:\n  fencing: lax\n", "f.yaml:2: "},
		{"settings:\n  fencing: strict\n  operations: [read, write]\n", "f.yaml:3: "},
		{"settings:\n  session: 1s\n", "f.yaml:2: "},
		{"pools:\n- name: \"a\x01b\"\n", "f.yaml:2: "},
		{"pools:\n- name: a\n  cidrs: [10.42\xff]\n", "f.yaml:3: "},
		{"pools:\n- name: \"a\x7fb\"\n", "f.yaml:2: "},
		{"pools:\n- name: \"a\u0090b\"\n", "f.yaml:2: "},
		{"pools:\n- name: \"a\ufffeb\"\n", "f.yaml:2: "},
		{"pools:\n- name: \"a\uffffb\"\n", "f.yaml:2: "},
		{"# tabs\t, returns\r\n# \u0085, \ufffd and umlauts \u00e4 are text\npools:\n- name: \"a\x01b\"\n", "f.yaml:4: "},
		{"pools:\n- name: a\n  cidrs: [10.42.0.0/16]\n  mtu: [1400]\n", "f.yaml:4: "},
		{"pools:\n- name: a\n  cidrs: [10.42.0.0/16]\n  gateways: [~]\n", "f.yaml:4: "},
		{"pools:\n- name: a\n  cidrs: [10.42.0.0/16]\n  mtu: {v4: 1400}\n", "f.yaml:4: "},
	} {
		if _, err := Parse("f.yaml", []byte(c.text)); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: %v, want it to begin with %q", c.text, err, c.want)
		}
	}
	for text, word := range map[string]string{
		"pools:\n\t- name: a\n": "want spaces", "\xff\xfep": "UTF-8 text", "pools: [\xff]\n": "UTF-8 text",
	} {
		if _, err := Parse("f.yaml", []byte(text)); err == nil || !strings.Contains(err.Error(), word) {
			t.Errorf("%q: %v, want it to say %q", text, err, word)
		}
	}
	if _, err := Parse("f.yaml", []byte("pools: @a\n")); err == nil || strings.Contains(err.Error(), "spaces") {
		t.Errorf("no line begins with a tab: %v", err)
	}
	for _, nothing := range []string{"", "{}", "# only words\n", "---\n", "--- {}\n", "~"} {
		for what, parse := range map[string]func() error{
			"a configuration": func() error { _, err := Parse("f.yaml", []byte(nothing)); return err },
			"a set":           func() error { _, err := ParseSet("f.yaml", []byte(nothing)); return err },
		} {
			if err := parse(); err == nil || err.Error() != "f.yaml: the file is empty: want a key with a value" {
				t.Errorf("%q as %s: %v, want it to be told that nothing is in it", nothing, what, err)
			}
		}
	}
	for _, truncated := range []string{"pools:\n- name: a\n  cidrs: [10.42", "pools:\n- name: \"a\n", "pools:\n- {name: a"} {
		if _, err := Parse("f.yaml", []byte(truncated)); err == nil || !strings.HasPrefix(err.Error(), "f.yaml:") || err.Error()[7] < '0' ||
			err.Error()[7] > '9' {
			t.Errorf("%q: %v, want it to begin with the line", truncated, err)
		}
	}
}
