package kv

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"path"
	"strings"
	"sync"
	"syscall"
	"time"
)

// An UnreachableError says why none of etcd's endpoints can be reached. Etcd's client itself only runs out of time.
type UnreachableError struct{ Each []error } // by endpoint, each with its name

func (e *UnreachableError) Error() string {
	words := make([]string, len(e.Each))
	for i, err := range e.Each {
		words[i] = err.Error()
	}
	return strings.Join(words, "; ")
}

func (e *UnreachableError) Unwrap() []error { return e.Each }

// Reach says why etcd cannot be reached: see Network.
func (c *Client) Reach(ctx context.Context) error {
	return c.login.network.Reach(ctx)
}

// reach connects to all endpoints at once, as etcd's client would. *UnreachableError has the reason of each.
func (o Options) reach(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type probed struct {
		at  int
		err error
	}
	probes := make(chan probed, len(o.Endpoints))
	for i, endpoint := range o.Endpoints {
		go func() { probes <- probed{i, o.probe(ctx, endpoint)} }()
	}
	failed := &UnreachableError{Each: make([]error, len(o.Endpoints))}
	for range o.Endpoints {
		k := <-probes
		if k.err == nil {
			return nil
		}
		failed.Each[k.at] = fmt.Errorf("etcd at %s: %w", o.Endpoints[k.at], k.err)
	}
	return failed
}

// probe says why etcd cannot be reached at an endpoint, or nil.
func (o Options) probe(ctx context.Context, endpoint string) error {
	network, address, name := dialable(endpoint)
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return dialError(err)
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if !o.secure() {
		err = greet(conn)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return errors.New("it takes connections and does not answer: is it etcd, and not stopped?")
		case network == "tcp" && speaksTLS(ctx, network, address):
			return errors.New("it speaks TLS, and the endpoint says otherwise: write https://, with --etcd-cacert where its authority is " +
				"not one of the machine's")
		}
		return fmt.Errorf("what answers there is no etcd (%w)", err)
	}
	config, err := o.tls()
	if err != nil {
		return err
	}
	config.ServerName, config.NextProtos = name, []string{"h2"}
	secured := tls.Client(conn, config)
	if err = secured.HandshakeContext(ctx); err == nil {
		err = greet(secured) // by TLS 1.3 it refuses a client's certificate only here
	} else if errors.Is(err, io.EOF) && speaksPlainly(ctx, network, address) {
		err = tls.RecordHeaderError{}
	}
	if err != nil && ctx.Err() != nil {
		return errors.New("it takes connections and does not answer: is it etcd, and not stopped?")
	}
	return o.tlsError(err)
}

// greet begins HTTP/2 as a client does (RFC 9113, section 3.4), and waits for the first frame.
func greet(conn net.Conn) error {
	const preface, settings = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x00\x00\x00\x04\x00\x00\x00\x00\x00"
	if _, err := conn.Write([]byte(preface + settings)); err != nil {
		return err
	}
	header := make([]byte, len(settings))
	if _, err := io.ReadFull(conn, header); err != nil {
		return err
	}
	const settingsFrame = 4
	if header[3] != settingsFrame {
		return errors.New("it does not speak HTTP/2")
	}
	return nil
}

// speaksTLS reports whether the other side answers a TLS client, whatever it thinks of it.
func speaksTLS(ctx context.Context, network, address string) bool {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return false
	}
	defer conn.Close()
	err = tls.Client(conn, &tls.Config{InsecureSkipVerify: true}).HandshakeContext(ctx) // nothing is said by it
	_, alert := errors.AsType[tls.AlertError](err)
	return err == nil || alert || strings.Contains(err.Error(), "remote error: tls:")
}

// speaksPlainly reports whether the other side answers a client without TLS.
func speaksPlainly(ctx context.Context, network, address string) bool {
	conn, err := new(net.Dialer).DialContext(ctx, network, address)
	if err != nil {
		return false
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	return greet(conn) == nil
}

func dialError(err error) error {
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("nobody listens there (%w)", err)
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return fmt.Errorf("no connection in time: is there a way to it, and no firewall between? (%w)", err)
	}
	return err
}

// tlsError puts into words why TLS did not come about, and what to do.
func (o Options) tlsError(err error) error {
	if err == nil {
		return nil
	}
	if _, plain := errors.AsType[tls.RecordHeaderError](err); plain {
		return errors.New("it does not speak TLS, and the endpoint or the files of certificates say otherwise: write http://, without " +
			"--etcd-cacert and --etcd-cert")
	}
	if _, unknown := errors.AsType[x509.UnknownAuthorityError](err); unknown {
		if o.CACert == "" {
			return fmt.Errorf("its certificate is signed by none of the machine's authorities: give its authority's by --etcd-cacert (%w)", err)
		}
		return fmt.Errorf("its certificate is signed by no authority in %s: give its authority's by --etcd-cacert (%w)", o.CACert, err)
	}
	if name, mismatch := errors.AsType[x509.HostnameError](err); mismatch {
		return fmt.Errorf("its certificate is for another name than %s: use one of its names as the endpoint (%w)", name.Host, err)
	}
	if invalid, bad := errors.AsType[x509.CertificateInvalidError](err); bad {
		if invalid.Reason == x509.Expired {
			return fmt.Errorf("its certificate, or its authority's, is not valid now: renew it, or set this machine's clock (%w)", err)
		}
		return fmt.Errorf("its certificate is not valid: renew it (%w)", err)
	}
	// Its alert of TLS 1.2 comes within the handshake, that of 1.3 with the first read, and some only close.
	if strings.Contains(err.Error(), "remote error: tls:") || errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) ||
		errors.Is(err, syscall.EPIPE) {
		if o.Cert == "" {
			return fmt.Errorf("it wants a client certificate: give one by --etcd-cert and --etcd-key (%w)", err)
		}
		return fmt.Errorf("it does not take the client certificate in %s: give one that its authorities signed and that is valid now (%w)",
			o.Cert, err)
	}
	return err
}

// dialable reads an endpoint in one of the ways that etcd's client understands; name is the one that the certificate is to have.
func dialable(endpoint string) (network, address, name string) {
	for _, scheme := range []string{"unix:", "unixs:"} {
		if file, ok := strings.CutPrefix(endpoint, scheme); ok {
			file = strings.TrimPrefix(file, "//")
			return "unix", file, path.Base(file)
		}
	}
	address = endpoint
	if u, err := url.Parse(endpoint); err == nil && u.Host != "" {
		address = u.Host
	}
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		name = address
	}
	return "tcp", address, name
}

// A diagnosis is why etcd was last not reached. It is found out in the background, and delays no call.
type diagnosis struct {
	mu    sync.Mutex
	busy  bool
	when  time.Time
	cause error
}

// How long a diagnosis takes at most, and for how long it counts.
const (
	diagnoseTime = 2 * time.Second
	diagnoseFor  = 10 * time.Second
)

// begin probes the endpoints, unless that was done a moment ago.
func (d *diagnosis) begin(network Network) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.busy || time.Since(d.when) < diagnoseTime {
		return
	}
	d.busy = true
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), diagnoseTime)
		defer cancel()
		err := network.Reach(ctx)
		d.mu.Lock()
		defer d.mu.Unlock()
		d.busy, d.when, d.cause = false, time.Now(), err
	}()
}

// found is the cause, where one is known.
func (d *diagnosis) found() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if time.Since(d.when) > diagnoseFor {
		return nil
	}
	return d.cause
}
