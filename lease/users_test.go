package lease

import "testing"

// withUsers makes the lab's etcd, which must be its own, want to know who asks: root, with that password.
func (l *lab) withUsers(password string) {
	l.Helper()
	raw := l.raw()
	_, err := raw.UserAdd(l.Context(), "root", password)
	l.check(err)
	_, err = raw.UserGrantRole(l.Context(), "root", "root")
	l.check(err)
	_, err = raw.AuthEnable(l.Context())
	l.check(err)
}

func TestEtcdsOwnUsersAreServed(t *testing.T) {
	l := newLab(t)
	l.own()
	l.withUsers("secret")
	if _, err := l.store().Config(t.Context()); err == nil {
		t.Error("a stranger was served")
	}
	wrong := l.file("wrong", "public\n")
	if _, err := l.store(func(o *Options) { o.User, o.PasswordFile = "root", wrong }).Config(t.Context()); err == nil {
		t.Error("a wrong password was good enough")
	}
	password := l.file("password", "secret\n")
	s := l.store(func(o *Options) { o.User, o.PasswordFile = "root", password })
	config := l.apply(s, smallest())
	l.reserve(l.join(s, "n1"), asking(config, "default", identity("db", 0), "c1"))
}
