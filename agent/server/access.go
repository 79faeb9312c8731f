package server

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"strings"

	"github.com/berth-ipam/berth/internal/wire"
)

// Access says how the web server is reached and which callers may ask for more than its health: /v1/ names containers, apps and
// addresses. Without a client CA and a token these are the callers on this machine, if the server listens on a loopback address,
// else none. All files are read when they are needed, so that they can be renewed.
type Access struct {
	Cert, Key string // files of the server's certificate and its key; empty: no TLS
	ClientCA  string // file of the authorities of admitted client certificates
	TokenFile string // file of the admitted token ("Authorization: Bearer TOKEN", RFC 6750)
}

// minToken is the least length of a token in bytes: a shorter one can be guessed.
const minToken = 16

// Check reports a contradiction, for a server that listens at an address.
func (c Access) Check(listen string) error {
	switch {
	case c == Access{}:
		return nil
	case listen == "":
		return errors.New("--listen is empty, so that there is no web server: leave --listen-cert, --listen-key, --listen-client-ca " +
			"and --listen-token-file out, too")
	case (c.Cert == "") != (c.Key == ""):
		return errors.New("--listen-cert and --listen-key go together: want both files, or neither")
	case c.ClientCA != "" && c.Cert == "":
		return errors.New("--listen-client-ca needs TLS: give --listen-cert and --listen-key, too")
	case c.TokenFile != "" && c.Cert == "" && !loopbackHost(listen):
		return fmt.Errorf("--listen-token-file without TLS: on %s, which is no loopback address, the network could read the token: "+
			"give --listen-cert and --listen-key, too", listen)
	}
	if c.TokenFile != "" {
		if _, err := c.token(); err != nil {
			return fmt.Errorf("--listen-token-file: %w", err)
		}
	}
	if c.Cert != "" {
		if _, err := c.config(); err != nil {
			return err
		}
	}
	return nil
}

func loopbackHost(listen string) bool {
	host, _, err := net.SplitHostPort(listen)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}

// config is TLS by the present files. A caller without a certificate can still ask for what is open to all.
func (c Access) config() (*tls.Config, error) {
	pair, err := tls.LoadX509KeyPair(c.Cert, c.Key)
	if err != nil {
		return nil, fmt.Errorf("--listen-cert and --listen-key: %w", err)
	}
	config := &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{pair}}
	if c.ClientCA == "" {
		return config, nil
	}
	pem, err := os.ReadFile(c.ClientCA)
	if err != nil {
		return nil, fmt.Errorf("--listen-client-ca: %w", err)
	}
	config.ClientCAs, config.ClientAuth = x509.NewCertPool(), tls.VerifyClientCertIfGiven
	if !config.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("--listen-client-ca: %s holds no certificate: want PEM", c.ClientCA)
	}
	return config, nil
}

func (c Access) token() (string, error) {
	text, err := os.ReadFile(c.TokenFile)
	if err != nil {
		return "", err
	}
	token := strings.TrimSpace(string(text))
	if len(token) < minToken {
		return "", fmt.Errorf("%s holds a token of %d bytes: want %d or more, such as of \"openssl rand -hex 32\"", c.TokenFile, len(token),
			minToken)
	}
	return token, nil
}

// A guard is Access for one listener.
type guard struct {
	Access
	loopback bool
}

// secure makes a listener use TLS, if there is a certificate.
func (g *guard) secure(l net.Listener) (net.Listener, error) {
	if g.Cert == "" {
		return l, nil
	}
	first, err := g.config()
	if err != nil {
		return l, fmt.Errorf("agent: %w", err)
	}
	first.GetConfigForClient = func(*tls.ClientHelloInfo) (*tls.Config, error) { return g.config() }
	return tls.NewListener(l, first), nil
}

// protect serves only admitted requests.
func (g *guard) protect(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		err := g.admit(r)
		switch {
		case err == nil:
			next.ServeHTTP(w, r)
			return
		case g.ClientCA == "" && g.TokenFile == "":
			refuse(w, http.StatusForbidden, wire.Errorf(wire.CodeOperation, "%w", err))
			return
		case g.TokenFile != "":
			w.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750, section 3
		}
		refuse(w, http.StatusUnauthorized, wire.Errorf(wire.CodeOperation, "%w", err))
	})
}

// admit is why a request is not admitted; nil: it is.
func (g *guard) admit(r *http.Request) error {
	if g.ClientCA == "" && g.TokenFile == "" {
		if g.loopback {
			return nil
		}
		return errors.New("the agent does not listen on a loopback address, where only /healthz, /readyz and /metrics are open: ask " +
			"its socket, or start berthd with --listen-cert, --listen-key and one of --listen-client-ca and --listen-token-file")
	}
	if g.ClientCA != "" && r.TLS != nil && len(r.TLS.VerifiedChains) > 0 {
		return nil
	}
	given, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if g.TokenFile == "" {
		return errors.New("want a client certificate of an authority in berthd's --listen-client-ca")
	}
	token, err := g.token()
	if err != nil {
		return fmt.Errorf("the agent cannot read its token, so that it lets nobody in by one: %w", err)
	}
	if a, b := sha256.Sum256([]byte(given)), sha256.Sum256([]byte(token)); bearer && subtle.ConstantTimeCompare(a[:], b[:]) == 1 {
		return nil
	}
	if g.ClientCA != "" {
		return errors.New("want a client certificate, or \"Authorization: Bearer TOKEN\" with the token of berthd's --listen-token-file")
	}
	return errors.New("want \"Authorization: Bearer TOKEN\" with the token of berthd's --listen-token-file")
}
