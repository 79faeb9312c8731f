package kv_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
)

// writeFile writes a file of the test's own.
func writeFile(l *lab.Lab, name, content string) string {
	l.Helper()
	path := filepath.Join(l.TempDir(), name)
	l.Check(os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestOptionsThatCannotBeAreReportedInWords(t *testing.T) {
	l := lab.New(t)
	rubbish := writeFile(l, "rubbish", "rubbish")
	for want, change := range map[string]func(*kv.Options){
		`endpoint "etcd"`:           func(o *kv.Options) { o.Endpoints = []string{"http://a:1", "etcd"} },
		"want http://HOST:PORT":     func(o *kv.Options) { o.Endpoints = []string{"http://a"} },
		`endpoint "ftp://a:1"`:      func(o *kv.Options) { o.Endpoints = []string{"ftp://a:1"} },
		`endpoint "http://a:port"`:  func(o *kv.Options) { o.Endpoints = []string{"http://a:port"} },
		`endpoint "http://a:1/x"`:   func(o *kv.Options) { o.Endpoints = []string{"http://a:1/x"} },
		`endpoint ""`:               func(o *kv.Options) { o.Endpoints = []string{""} },
		`prefix "berth"`:            func(o *kv.Options) { o.Prefix = "berth" },
		`prefix "/a b"`:             func(o *kv.Options) { o.Prefix = "/a b" },
		"write https://":            func(o *kv.Options) { o.Endpoints, o.CACert = []string{"http://a:1"}, rubbish },
		"want the same of all":      func(o *kv.Options) { o.Endpoints = []string{"http://a:1", "https://b:1"} },
		"no etcd endpoints":         func(o *kv.Options) { o.Endpoints = nil },
		"a password go together":    func(o *kv.Options) { o.User = "berth" },
		"user and a password":       func(o *kv.Options) { o.PasswordFile = rubbish },
		"read the etcd user's":      func(o *kv.Options) { o.User, o.PasswordFile = "berth", "/nowhere" },
		"authorities":               func(o *kv.Options) { o.CACert = "/nowhere" },
		"holds no certificate":      func(o *kv.Options) { o.CACert = rubbish },
		"its key go together":       func(o *kv.Options) { o.Cert = rubbish },
		"read the client certifica": func(o *kv.Options) { o.Cert, o.Key = rubbish, rubbish },
	} {
		o := l.Options
		change(&o)
		if _, err := lab.OpenStore(o); err == nil || !lab.Contains(err, want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}
