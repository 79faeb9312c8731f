package lease

import (
	"os"
	"path/filepath"
	"testing"
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
	for want, change := range map[string]func(*Options){
		`endpoint "etcd"`:           func(o *Options) { o.Endpoints = []string{"http://a:1", "etcd"} },
		"want http://HOST:PORT":     func(o *Options) { o.Endpoints = []string{"http://a"} },
		`endpoint "ftp://a:1"`:      func(o *Options) { o.Endpoints = []string{"ftp://a:1"} },
		`endpoint "http://a:port"`:  func(o *Options) { o.Endpoints = []string{"http://a:port"} },
		`endpoint "http://a:1/x"`:   func(o *Options) { o.Endpoints = []string{"http://a:1/x"} },
		`endpoint ""`:               func(o *Options) { o.Endpoints = []string{""} },
		`prefix "berth"`:            func(o *Options) { o.Prefix = "berth" },
		`prefix "/a b"`:             func(o *Options) { o.Prefix = "/a b" },
		"write https://":            func(o *Options) { o.Endpoints, o.CACert = []string{"http://a:1"}, rubbish },
		"want the same of all":      func(o *Options) { o.Endpoints = []string{"http://a:1", "https://b:1"} },
		"no etcd endpoints":         func(o *Options) { o.Endpoints = nil },
		"a password go together":    func(o *Options) { o.User = "berth" },
		"user and a password":       func(o *Options) { o.PasswordFile = rubbish },
		"read the etcd user's":      func(o *Options) { o.User, o.PasswordFile = "berth", "/nowhere" },
		"authorities":               func(o *Options) { o.CACert = "/nowhere" },
		"holds no certificate":      func(o *Options) { o.CACert = rubbish },
		"its key go together":       func(o *Options) { o.Cert = rubbish },
		"read the client certifica": func(o *Options) { o.Cert, o.Key = rubbish, rubbish },
	} {
		o := l.options
		change(&o)
		if _, err := Open(o); err == nil || !contains(err, want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
	}
}
