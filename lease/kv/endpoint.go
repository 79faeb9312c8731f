package kv

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"unicode"
)

// reachable finds endpoints and prefixes that can never work.
func (o Options) reachable() error {
	if len(o.Endpoints) == 0 {
		return errors.New("no etcd endpoints: want at least one URL")
	}
	for _, endpoint := range o.Endpoints {
		if !isEndpoint(endpoint) {
			return fmt.Errorf("etcd endpoint %q: want http://HOST:PORT, https://HOST:PORT, HOST:PORT or unix://PATH", endpoint)
		}
	}
	if secure, plain := o.schemes(); secure && plain {
		return fmt.Errorf("etcd endpoints %s: some with TLS, some without: want the same of all", strings.Join(o.Endpoints, ", "))
	} else if plain && (o.CACert != "" || o.Cert != "") {
		return errors.New("certificates are given, and the etcd endpoints begin with http://, which is without TLS: write https://")
	}
	odd := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }
	if p := o.Prefix; p != "" && (!strings.HasPrefix(p, "/") || strings.ContainsFunc(p, odd)) {
		return fmt.Errorf("prefix %q of the keys in etcd: want one that begins with a slash and has no spaces, such as %s", p, DefaultPrefix)
	}
	return nil
}

// schemes reports whether endpoints ask for TLS, and whether some do without.
func (o Options) schemes() (secure, plain bool) {
	for _, endpoint := range o.Endpoints {
		secure = secure || strings.HasPrefix(endpoint, "https:") || strings.HasPrefix(endpoint, "unixs:")
		plain = plain || strings.HasPrefix(endpoint, "http:")
	}
	return secure, plain
}

// isEndpoint reports whether etcd's client could reach anything there.
func isEndpoint(endpoint string) bool {
	if !strings.Contains(endpoint, "://") {
		return isHostPort(endpoint)
	}
	u, err := url.Parse(endpoint)
	switch {
	case err != nil, u.User != nil, u.RawQuery != "", u.Fragment != "":
		return false
	case u.Scheme == "unix", u.Scheme == "unixs":
		return u.Host+u.Path != ""
	case u.Scheme == "http", u.Scheme == "https":
		return isHostPort(u.Host) && (u.Path == "" || u.Path == "/")
	}
	return false
}

func isHostPort(text string) bool {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" {
		return false
	}
	_, err = net.LookupPort("tcp", port)
	return err == nil
}
