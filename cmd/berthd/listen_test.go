package main

import (
	"strings"
	"testing"
)

func TestAnAddressToListenOnIsOfEitherFamily(t *testing.T) {
	for word, want := range map[string]string{
		"":                  "",
		"127.0.0.1:9473":    "127.0.0.1:9473",
		":9473":             ":9473",
		"[::1]:9473":        "[::1]:9473",
		"::1:9473":          "[::1]:9473",
		"fd00::11:9473":     "[fd00::11]:9473",
		"[fe80::1%eth0]:80": "[fe80::1%eth0]:80",
		"[::]:0":            "[::]:0",
		"node-1:9473":       "node-1:9473",
	} {
		if got, err := listenAddress(word); err != nil || got != want {
			t.Errorf("%q is %q, error %v, want %q", word, got, err, want)
		}
	}
	for word, want := range map[string]string{
		"9473":             "no port",
		"127.0.0.1":        "no port",
		"127.0.0.1:":       "no number",
		"127.0.0.1:http":   "no number",
		"127.0.0.1:70000":  "no number",
		"127.0.0.1:-1":     "no number",
		"::1":              "no IPv6 address",
		"[::1:9473":        "not closed",
		"[n1]:9473":        "no IPv6 address",
		"[127.0.0.1]:9473": "brackets are for IPv6",
		"http://a:9473":    "no IPv6 address",
		"a b:9473":         "its host",
	} {
		if got, err := listenAddress(word); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "[::1]:9473") {
			t.Errorf("%q is %q, error %v, want one that says %q", word, got, err, want)
		}
	}
}
