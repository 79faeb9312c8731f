package agent

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-ipam/berth/agent/server"
	"github.com/berth-ipam/berth/internal/wire"
	"github.com/berth-ipam/berth/lease/config"
)

// reach asks the agent's web server, by TLS if client has it.
func (r *rig) reach(client *http.Client, path string, header ...string) (status int, body string) {
	r.t.Helper()
	scheme := "http"
	if r.access.Cert != "" {
		scheme = "https"
	}
	request, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, scheme+"://"+r.webAddress()+path, nil)
	check(r.t, err)
	for i := 0; i+1 < len(header); i += 2 {
		request.Header.Set(header[i], header[i+1])
	}
	response, err := client.Do(request)
	check(r.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	check(r.t, err)
	return response.StatusCode, string(text)
}

// healthy checks that everybody is told of the agent's health.
func (r *rig) healthy(client *http.Client) {
	r.t.Helper()
	for _, path := range []string{"/healthz", "/readyz", "/metrics"} {
		if status, body := r.reach(client, path); status != 200 {
			r.t.Errorf("%s: %d %s", path, status, body)
		}
	}
}

func refusedInJSON(t *testing.T, status, want int, body string) *wire.Error {
	t.Helper()
	e := new(wire.Error)
	if err := json.Unmarshal([]byte(body), e); err != nil || status != want || e.Message == "" {
		t.Errorf("answered %d %q, want %d and an error as JSON", status, body, want)
	}
	return e
}

func TestOnAnAddressThatIsNoLoopbackOnlyHealthAndMetricsAreOpen(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", "web"))
	r.listen = "[::]:0"
	r.restart()
	r.healthy(http.DefaultClient)
	status, body := r.reach(http.DefaultClient, "/v1/version")
	if e := refusedInJSON(t, status, 403, body); !strings.Contains(e.Message, "--listen-token-file") {
		t.Errorf("the refusal does not say what would be right: %s", body)
	}
	r.agent.Findings.Set("test-kind", "10.42.64.7", "container a has it", "delete it")
	if _, body := r.reach(http.DefaultClient, "/readyz"); strings.Contains(body, "10.42") || !strings.Contains(body, "test-kind: 1") {
		t.Errorf("/readyz tells everybody %q", body)
	}
}

func TestWithTLSAClientCertificateOrTheTokenLetsIn(t *testing.T) {
	r := newRig(t)
	ca := newCA(t)
	token := filepath.Join(r.dir, "token")
	check(t, os.WriteFile(token, []byte("0123456789abcdef\n"), 0o600))
	r.access = server.Access{Cert: ca.file("server.pem"), Key: ca.file("server.key"), ClientCA: ca.file("ca.pem"), TokenFile: token}
	ca.issue("server")
	ca.issue("client")
	r.listen = "[::]:0"
	r.restart()
	anybody := ca.client("")
	r.healthy(anybody)
	for _, header := range []string{"", "Bearer wrong", "0123456789abcdef", "Bearer "} {
		status, body := r.reach(anybody, "/v1/version", "Authorization", header)
		refusedInJSON(t, status, 401, body)
	}
	if status, body := r.reach(anybody, "/v1/version", "Authorization", "Bearer 0123456789abcdef"); status != 200 {
		t.Errorf("the token does not let in: %d %s", status, body)
	}
	if status, body := r.reach(ca.client("client"), "/v1/version"); status != 200 {
		t.Errorf("the certificate does not let in: %d %s", status, body)
	}
	check(t, os.WriteFile(token, []byte("fedcba9876543210"), 0o600))
	if status, _ := r.reach(anybody, "/v1/version", "Authorization", "Bearer 0123456789abcdef"); status != 401 {
		t.Error("a token that was changed still lets in")
	}
	check(t, os.Remove(token))
	if status, _ := r.reach(anybody, "/v1/version", "Authorization", "Bearer "); status != 401 {
		t.Error("without its file an empty token lets in")
	}
}

func TestAnAccessThatProtectsNothingIsRefused(t *testing.T) {
	ca := newCA(t)
	ca.issue("server")
	short := filepath.Join(ca.dir, "short")
	check(t, os.WriteFile(short, []byte("secret"), 0o600))
	long := filepath.Join(ca.dir, "long")
	check(t, os.WriteFile(long, []byte("0123456789abcdef"), 0o600))
	for _, c := range []struct {
		listen string
		access server.Access
		want   string
	}{
		{"", server.Access{TokenFile: long}, "--listen is empty"},
		{"0.0.0.0:1", server.Access{TokenFile: long}, "could read the token"},
		{"127.0.0.1:1", server.Access{TokenFile: short}, "want 16 or more"},
		{"127.0.0.1:1", server.Access{TokenFile: "/none"}, "--listen-token-file"},
		{"127.0.0.1:1", server.Access{ClientCA: ca.file("ca.pem")}, "needs TLS"},
		{"127.0.0.1:1", server.Access{Cert: ca.file("server.pem")}, "go together"},
		{"127.0.0.1:1", server.Access{Cert: "/none", Key: "/none"}, "--listen-cert"},
		{"127.0.0.1:1", server.Access{Cert: ca.file("server.pem"), Key: ca.file("server.key"), ClientCA: short}, "no certificate"},
		{"127.0.0.1:1", server.Access{TokenFile: long}, ""},
		{"[::1]:1", server.Access{TokenFile: long}, ""},
		{"0.0.0.0:1", server.Access{Cert: ca.file("server.pem"), Key: ca.file("server.key"), TokenFile: long, ClientCA: ca.file("ca.pem")}, ""},
		{"0.0.0.0:1", server.Access{Cert: ca.file("server.pem"), Key: ca.file("server.key"), TokenFile: long}, ""},
		{"0.0.0.0:1", server.Access{}, ""},
	} {
		err := c.access.Check(c.listen)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s %+v: %v, want %q", c.listen, c.access, err, c.want)
		}
	}
}

func TestOverHTTPParametersAreCheckedAndErrorsAreJSON(t *testing.T) {
	r := newRig(t)
	r.add(r.stateless("a", "web"))
	r.until("it is published", func() bool { status, _ := r.reach(http.DefaultClient, "/v1/version?app=ns/web"); return status == 200 })
	for path, want := range map[string]int{
		"/v1/version?app=a/b/c":             400,
		"/v1/version?app=":                  400,
		"/v1/version?app=%zz":               400,
		"/v1/version?ap=ns/web":             400,
		"/v1/version?app=ns/web&app=ns/web": 400,
		"/v1/version?node=a/b":              400,
		"/v1/version?live=perhaps":          400,
		"/v1/version?app=ns/none":           404,
		"/v1/version?container=nobody":      404,
		"/v1/version?pool=none":             404,
		"/v1/version?node=none":             404,
		"/v1/versions":                      404,
		"/v1/":                              404,
	} {
		status, body := r.reach(http.DefaultClient, path)
		refusedInJSON(t, status, want, body)
	}
	response, err := http.Post("http://"+r.webAddress()+"/v1/version", "", nil)
	check(t, err)
	body, err := io.ReadAll(response.Body)
	check(t, err)
	response.Body.Close()
	refusedInJSON(t, response.StatusCode, 405, string(body))

	for _, path := range []string{"/v1/version?app=ns/web&live=true", "/v1/version?container=a&container=a"} {
		if status, body := r.reach(http.DefaultClient, path); status != 200 {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	r.change(func(c *config.Config) { c.Settings.Operations = nil })
	r.until("reading is off", func() bool { status, _ := r.reach(http.DefaultClient, "/v1/version"); return status != 200 })
	status, text := r.reach(http.DefaultClient, "/v1/version")
	if e := refusedInJSON(t, status, 403, text); e.Code != wire.CodeOperation {
		t.Errorf("the refusal has code %d", e.Code)
	}
	r.healthy(http.DefaultClient)
}

// A ca issues certificates into files.
type ca struct {
	t    *testing.T
	dir  string
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newCA(t *testing.T) *ca {
	c := &ca{t: t, dir: t.TempDir()}
	var err error
	c.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	c.cert = &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "ca"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(time.Hour),
		IsCA:     true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	c.write("ca", c.cert, c.key)
	return c
}

func (c *ca) file(name string) string { return filepath.Join(c.dir, name) }

func (c *ca) issue(name string) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(c.t, err)
	c.write(name, &x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter:    time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.IPv6zero}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, key)
}

func (c *ca) write(name string, cert *x509.Certificate, key *ecdsa.PrivateKey) {
	der, err := x509.CreateCertificate(rand.Reader, cert, c.cert, &key.PublicKey, c.key)
	check(c.t, err)
	private, err := x509.MarshalECPrivateKey(key)
	check(c.t, err)
	check(c.t, os.WriteFile(c.file(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	check(c.t, os.WriteFile(c.file(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), 0o600))
}

// client has the certificate of a name, if it is given.
func (c *ca) client(name string) *http.Client {
	pool := x509.NewCertPool()
	text, err := os.ReadFile(c.file("ca.pem"))
	check(c.t, err)
	pool.AppendCertsFromPEM(text)
	config := &tls.Config{RootCAs: pool}
	if name != "" {
		pair, err := tls.LoadX509KeyPair(c.file(name+".pem"), c.file(name+".key"))
		check(c.t, err)
		config.Certificates = []tls.Certificate{pair}
	}
	transport := &http.Transport{TLSClientConfig: config}
	c.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport}
}

func TestAHeaderThatIsTooLongIsRefused(t *testing.T) {
	r := newRig(t)
	conn, err := net.Dial("tcp", r.webAddress())
	check(t, err)
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, _ = io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: a\r\nLong: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if !strings.Contains(string(answer), "431") {
		t.Errorf("answered %.100q, error %v: want status 431", answer, err)
	}
}
