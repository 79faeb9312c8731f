package kv

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"

	"google.golang.org/grpc/credentials"
)

// Check finds options that can never work, so that a command line can be refused before a store is opened.
func (o Options) Check() error {
	if err := o.check(); err != nil {
		return fmt.Errorf("lease: open: %w", err)
	}
	return nil
}

// check reads all files that Open is given once.
func (o Options) check() error {
	if err := o.reachable(); err != nil {
		return err
	}
	password, err := o.password()
	if err != nil {
		return err
	}
	if (o.User == "") != (password == "") {
		return errors.New("an etcd user and a password go together: want both, or neither")
	}
	if (o.Cert == "") != (o.Key == "") {
		return errors.New("a client certificate and its key go together: want both files, or neither")
	}
	_, err = o.tls()
	return err
}

// password reads the etcd user's password, as it is now.
func (o Options) password() (string, error) {
	if o.PasswordFile == "" {
		return "", nil
	}
	text, err := os.ReadFile(o.PasswordFile)
	if err != nil {
		return "", fmt.Errorf("read the etcd user's password: %w", err)
	}
	return strings.TrimRight(string(text), "\r\n"), nil
}

// secure reports whether etcd is spoken to by TLS.
func (o Options) secure() bool {
	scheme, _, named := strings.Cut(o.Endpoints[0], ":")
	switch {
	case scheme == "https", scheme == "unixs":
		return true
	case scheme == "http":
		return false
	}
	return (!named || scheme != "unix") && (o.CACert != "" || o.Cert != "")
}

// tls reads authorities and client certificate as they are now.
func (o Options) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CACert != "" {
		pem, err := os.ReadFile(o.CACert)
		if err != nil {
			return nil, fmt.Errorf("read the authorities of etcd's certificate: %w", err)
		}
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("%s holds no certificate: want PEM", o.CACert)
		}
	}
	if o.Cert != "" {
		pair, err := tls.LoadX509KeyPair(o.Cert, o.Key)
		if err != nil {
			return nil, fmt.Errorf("read the client certificate: %w", err)
		}
		// By the function it is shown to any etcd that asks, also to one that would not take it: then etcd says why.
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
	}
	return config, nil
}

// transport is TLS whose files are read again for each connection, so that they can be renewed while a process runs.
type transport struct {
	credentials.TransportCredentials // what does not depend on the files
	options                          Options
}

func newTransport(o Options) credentials.TransportCredentials {
	return &transport{credentials.NewTLS(nil), o}
}

func (t *transport) ClientHandshake(ctx context.Context, authority string, conn net.Conn) (net.Conn, credentials.AuthInfo, error) {
	config, err := t.options.tls()
	if err != nil {
		return nil, nil, err
	}
	return credentials.NewTLS(config).ClientHandshake(ctx, authority, conn)
}

func (t *transport) Clone() credentials.TransportCredentials { return newTransport(t.options) }
