package lease

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-ipam/berth/lease/kv"
)

// file writes a file of the test's own.
func (l *lab) file(name, content string) string {
	l.Helper()
	path := filepath.Join(l.TempDir(), name)
	l.check(os.WriteFile(path, []byte(content), 0o600))
	return path
}

func TestOptionsThatCannotBeAreToldInWords(t *testing.T) {
	l := newLab(t)
	rubbish := l.file("rubbish", "rubbish")
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
		o := l.options
		change(&o)
		if _, err := openStore(o); err == nil || !contains(err, want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}
