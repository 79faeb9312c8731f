package server

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

func TestWhoIsAdmittedIsWhomTheAccessNames(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const right, none = "Bearer 0123456789abcdef", ""
	by := Access{TokenFile: token}
	certificate := Access{ClientCA: "ca.pem"}
	either := Access{TokenFile: token, ClientCA: "ca.pem"}
	for name, c := range map[string]struct {
		guard         guard
		authorization string
		want          int
		asks          string // for which authentication
	}{
		"anybody on the loopback":             {guard{loopback: true}, none, 200, ""},
		"anybody elsewhere":                   {guard{}, none, 403, ""},
		"a token where there is none":         {guard{}, right, 403, ""},
		"the token":                           {guard{Access: by}, right, 200, ""},
		"no token":                            {guard{Access: by}, none, 401, "Bearer"},
		"no token, on the loopback":           {guard{Access: by, loopback: true}, none, 401, "Bearer"},
		"the token without its word":          {guard{Access: by}, "0123456789abcdef", 401, "Bearer"},
		"another token":                       {guard{Access: by}, "Bearer 0123456789abcdee", 401, "Bearer"},
		"a beginning of the token":            {guard{Access: by}, "Bearer 0123456789abcde", 401, "Bearer"},
		"no certificate":                      {guard{Access: certificate}, none, 401, ""},
		"no certificate, on the loopback":     {guard{Access: certificate, loopback: true}, none, 401, ""},
		"a token where a certificate is due":  {guard{Access: certificate}, right, 401, ""},
		"the token where either is":           {guard{Access: either}, right, 200, ""},
		"neither":                             {guard{Access: either}, none, 401, "Bearer"},
		"a token whose file is not there":     {guard{Access: Access{TokenFile: "/none"}}, "Bearer ", 401, "Bearer"},
		"a token where its file is not there": {guard{Access: Access{TokenFile: "/none"}}, right, 401, "Bearer"},
	} {
		t.Run(name, func(t *testing.T) {
			served := false
			handler := c.guard.protect(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { served = true }))
			r, w := httptest.NewRequest(http.MethodGet, "/v1/version", nil), httptest.NewRecorder()
			if c.authorization != none {
				r.Header.Set("Authorization", c.authorization)
			}
			handler.ServeHTTP(w, r)
			if w.Code != c.want || served != (c.want == 200) || w.Header().Get("WWW-Authenticate") != c.asks {
				t.Errorf("answered %d %s, asks for %q, served: %v", w.Code, w.Body, w.Header().Get("WWW-Authenticate"), served)
			}
		})
	}
}

func TestWithoutAServerThereIsNothingToProtectAndLocalhostIsTheLoopback(t *testing.T) {
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("0123456789abcdef"), 0o600); err != nil {
		t.Fatal(err)
	}
	for listen, c := range map[string]Access{"": {}, "localhost:9000": {TokenFile: token}, "[::1]:9000": {TokenFile: token}} {
		if err := c.Check(listen); err != nil {
			t.Errorf("%q: %v", listen, err)
		}
	}
	for _, listen := range []string{"remotehost:9000", "localhost", "[::]:9000", "128.0.0.1:9000"} {
		if err := (Access{TokenFile: token}).Check(listen); err == nil {
			t.Errorf("%q without TLS would tell the network the token", listen)
		}
	}
}
