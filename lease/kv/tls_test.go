package kv_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"math/big"
	"net"
	"net/url"
	"os"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"

	"github.com/berth-ipam/berth/lease/embedded"
	"github.com/berth-ipam/berth/lease/kv"
	"github.com/berth-ipam/berth/lease/lab"
)

// secured starts an etcd with TLS by these files, which wants clients to have certificates of the authority, if there is one.
func secured(l *lab.Lab, cert, key string, clients *authority) (endpoint string) {
	l.Helper()
	c := embed.NewConfig()
	c.Dir, c.ListenPeerUrls, c.ZapLoggerBuilder = l.TempDir(), nil, embed.NewZapLoggerBuilder(zap.NewNop())
	c.ListenClientUrls = []url.URL{{Scheme: "https", Host: "127.0.0.1:0"}}
	c.AdvertiseClientUrls = c.ListenClientUrls
	c.ClientTLSInfo.CertFile, c.ClientTLSInfo.KeyFile = cert, key
	if clients != nil {
		c.ClientTLSInfo.TrustedCAFile, c.ClientTLSInfo.ClientCertAuth = clients.file, true
	}
	c.TickMs, c.ElectionMs, c.UnsafeNoFsync = 10, 100, true
	server, err := embed.StartEtcd(c)
	l.Check(err)
	l.Cleanup(server.Close)
	return "https://" + server.Clients[0].Addr().String()
}

func TestEtcdIsReachedByTLS(t *testing.T) {
	l := lab.New(t)
	ca := newAuthority(l)
	serverCert, serverKey := ca.certificate("server")
	clientCert, clientKey := ca.certificate("client")
	l.Options.Endpoints = []string{secured(l, serverCert, serverKey, ca)}
	s := l.Store(func(o *kv.Options) { o.CACert, o.Cert, o.Key = ca.file, clientCert, clientKey })
	l.Check(s.KV.Reach(t.Context()))
	l.Apply(s, lab.Smallest())
}

// TestWhyTLSDoesNotComeAboutIsTheFirstThingSaid makes the mistakes that people make, against a real etcd each.
func TestWhyTLSDoesNotComeAboutIsTheFirstThingSaid(t *testing.T) {
	l := lab.New(t)
	ca, stranger := newAuthority(l), newAuthority(l)
	cert, key := ca.certificate("server")
	clientCert, clientKey := ca.certificate("client")
	strangerCert, strangerKey := stranger.certificate("client")
	old := func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }
	oldCert, oldKey := ca.certificate("server", old)
	oldClientCert, oldClientKey := ca.certificate("client", old)
	otherCert, otherKey := ca.certificate("server", func(c *x509.Certificate) {
		c.IPAddresses, c.DNSNames = nil, []string{"etcd.example"}
	})
	open, mutual := secured(l, cert, key, nil), secured(l, cert, key, ca)
	expired, misnamed := secured(l, oldCert, oldKey, nil), secured(l, otherCert, otherKey, nil)
	plain := plain(l)
	for what, c := range map[string]struct {
		options kv.Options
		want    string
	}{
		"another authority": {kv.Options{Endpoints: []string{open}, CACert: stranger.file},
			"signed by no authority in " + stranger.file},
		"no authority":           {kv.Options{Endpoints: []string{open}}, "give its authority's by --etcd-cacert"},
		"http for https":         {kv.Options{Endpoints: []string{"http" + open[len("https"):]}}, "it speaks TLS"},
		"no scheme for https":    {kv.Options{Endpoints: []string{open[len("https://"):]}}, "it speaks TLS"},
		"https for http":         {kv.Options{Endpoints: []string{"https" + plain[len("http"):]}}, "it does not speak TLS"},
		"another name":           {kv.Options{Endpoints: []string{misnamed}, CACert: ca.file}, "is for another name than 127.0.0.1"},
		"an expired certificate": {kv.Options{Endpoints: []string{expired}, CACert: ca.file}, "is not valid now"},
		"no client certificate":  {kv.Options{Endpoints: []string{mutual}, CACert: ca.file}, "it wants a client certificate"},
		"a client certificate of another's": {kv.Options{Endpoints: []string{mutual}, CACert: ca.file, Cert: strangerCert, Key: strangerKey},
			"does not take the client certificate in " + strangerCert},
		"an expired client certificate": {kv.Options{Endpoints: []string{mutual}, CACert: ca.file, Cert: oldClientCert, Key: oldClientKey},
			"does not take the client certificate in " + oldClientCert},
		"nobody there": {kv.Options{Endpoints: []string{"https://127.0.0.1:1"}, CACert: ca.file, Cert: clientCert,
			Key: clientKey}, "nobody listens there"},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			s, err := lab.OpenStore(c.options)
			if err != nil {
				t.Fatal(err)
			}
			defer s.KV.Close()
			want := "etcd at " + c.options.Endpoints[0] + ": "
			err = s.KV.Reach(t.Context())
			if unreached, ok := errors.AsType[*kv.UnreachableError](err); !ok || !lab.Contains(err, c.want) || err.Error()[:len(want)] != want ||
				len(unreached.Each) != 1 {
				t.Errorf("knocking it says %v, want %q at first, and %q", err, want, c.want)
			}
			// What the agent says is of a call that has waited for etcd in vain.
			ctx, cancel := context.WithTimeout(t.Context(), 3*kv.TryTime)
			defer cancel()
			_, err = s.Config.Read(ctx)
			if want = "lease: " + want; err == nil || !lab.Contains(err, c.want) || err.Error()[:len(want)] != want {
				t.Errorf("a call says %v, want %q at first, and %q", err, want, c.want)
			}
		})
	}
}

// plain starts an etcd without TLS.
func plain(l *lab.Lab) (endpoint string) {
	l.Helper()
	server, err := embedded.Start(l.Context(),
		embedded.Options{Dir: l.TempDir(), Name: "plain", ListenClient: []string{"http://127.0.0.1:0"}, Fast: true})
	l.Check(err)
	l.Cleanup(server.Stop)
	return server.Endpoints()[0]
}

func TestCertificatesAreReadAgainForEachConnection(t *testing.T) {
	l := lab.New(t)
	ca, next := newAuthority(l), newAuthority(l)
	cert, key := next.certificate("server")
	clientCert, clientKey := ca.certificate("client")
	l.Options.Endpoints = []string{secured(l, cert, key, next)}
	l.Options.CACert, l.Options.Cert, l.Options.Key = ca.file, clientCert, clientKey
	s := l.Store()
	if err := s.KV.Reach(t.Context()); err == nil {
		t.Fatal("an etcd of another authority's was reached")
	}
	nextCert, nextKey := next.certificate("client")
	for to, from := range map[string]string{ca.file: next.file, clientCert: nextCert, clientKey: nextKey} {
		text, err := os.ReadFile(from)
		l.Check(err)
		l.Check(os.WriteFile(to, text, 0o600))
	}
	l.Until("it is reached by what the files have now", func() bool {
		_, err := s.Config.Read(t.Context())
		return err == nil
	})
}

// An authority signs certificates.
type authority struct {
	*lab.Lab
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(l *lab.Lab) *authority {
	l.Helper()
	a := &authority{Lab: l}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = newKey(l)
	a.file = writeFile(l, "ca.pem", pemOf("CERTIFICATE", a.sign(a.cert, a.key)))
	return a
}

func newKey(l *lab.Lab) *ecdsa.PrivateKey {
	l.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	l.Check(err)
	return key
}

func (a *authority) sign(cert *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	a.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, &key.PublicKey, a.key)
	a.Check(err)
	return der
}

// certificate makes the files of a certificate for 127.0.0.1 and its key.
func (a *authority) certificate(name string, change ...func(*x509.Certificate)) (cert, key string) {
	a.Helper()
	private := newKey(a.Lab)
	der, err := x509.MarshalECPrivateKey(private)
	a.Check(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	for _, c := range change {
		c(template)
	}
	signed := a.sign(template, private)
	return writeFile(a.Lab, name+".pem", pemOf("CERTIFICATE", signed)), writeFile(a.Lab, name+".key", pemOf("EC PRIVATE KEY", der))
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
