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
	} {
		if _, err := Parse("f.yaml", []byte(c.text)); err == nil || !strings.HasPrefix(err.Error(), c.want) {
			t.Errorf("%q: %v, want it to begin with %q", c.text, err, c.want)
		}
	}
	for _, truncated := range []string{"pools:\n- name: a\n  cidrs: [10.42", "pools:\n- name: \"a\n", "pools:\n- {name: a"} {
		if _, err := Parse("f.yaml", []byte(truncated)); err == nil || !strings.HasPrefix(err.Error(), "f.yaml:") || err.Error()[7] < '0' ||
			err.Error()[7] > '9' {
			t.Errorf("%q: %v, want it to begin with the line", truncated, err)
		}
	}
}
