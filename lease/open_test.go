package lease

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
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

func TestEtcdIsReachedByTLS(t *testing.T) {
	l := newLab(t)
	ca := l.authority()
	serverCert, serverKey := ca.certificate("server")
	clientCert, clientKey := ca.certificate("client")
	c := embed.NewConfig()
	c.Dir, c.ListenPeerUrls, c.ZapLoggerBuilder = l.TempDir(), nil, embed.NewZapLoggerBuilder(zap.NewNop())
	c.ListenClientUrls = []url.URL{{Scheme: "https", Host: "127.0.0.1:0"}}
	c.AdvertiseClientUrls = c.ListenClientUrls
	c.ClientTLSInfo.CertFile, c.ClientTLSInfo.KeyFile = serverCert, serverKey
	c.ClientTLSInfo.TrustedCAFile, c.ClientTLSInfo.ClientCertAuth = ca.file, true
	c.TickMs, c.ElectionMs, c.UnsafeNoFsync = 10, 100, true
	server, err := embed.StartEtcd(c)
	l.check(err)
	l.Cleanup(server.Close)
	l.options.Endpoints = []string{"https://" + server.Clients[0].Addr().String()}

	s := l.store(func(o *Options) { o.CACert, o.Cert, o.Key = ca.file, clientCert, clientKey })
	l.apply(s, smallest())
	stranger := l.authority()
	for what, change := range map[string]func(*Options){
		"without a certificate":  func(o *Options) { o.CACert = ca.file },
		"by another authority's": func(o *Options) { o.CACert, o.Cert, o.Key = stranger.file, clientCert, clientKey },
	} {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		if _, err := l.store(change).Config(ctx); err == nil {
			t.Errorf("%s it was reached", what)
		}
		cancel()
	}
}

// An authority signs certificates for 127.0.0.1.
type authority struct {
	*lab
	file string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func (l *lab) authority() *authority {
	l.Helper()
	a := &authority{lab: l}
	a.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.key = l.newKey()
	a.file = l.file("ca.pem", pemOf("CERTIFICATE", a.sign(a.cert, a.key)))
	return a
}

func (l *lab) newKey() *ecdsa.PrivateKey {
	l.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	l.check(err)
	return key
}

func (a *authority) sign(cert *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	a.Helper()
	der, err := x509.CreateCertificate(rand.Reader, cert, a.cert, &key.PublicKey, a.key)
	a.check(err)
	return der
}

// certificate makes the files of a certificate and its key.
func (a *authority) certificate(name string) (cert, key string) {
	a.Helper()
	private := a.newKey()
	der, err := x509.MarshalECPrivateKey(private)
	a.check(err)
	signed := a.sign(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, private)
	return a.lab.file(name+".pem", pemOf("CERTIFICATE", signed)), a.lab.file(name+".key", pemOf("EC PRIVATE KEY", der))
}

func pemOf(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}
