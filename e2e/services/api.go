package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/target"
)

const (
	token     = "of-the-administrator"
	apiServer = "https://10.200.0.1:6443" // the switch has this address
)

// An api is a kube-apiserver that stands beside the lab's switch and keeps what it knows in the lab's etcd.
type api struct {
	dir    string
	daemon daemon
	client http.Client
}

func startAPI(ctx context.Context, l *lab.Lab, programs string) (*api, error) {
	dir, err := os.MkdirTemp("/run", "kubernetes")
	if err != nil {
		return nil, err
	}
	a := &api{dir: dir, client: http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}} // it makes its own certificate
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
	if err := os.WriteFile(a.path("key"), text, 0o600); err != nil {
		return nil, err
	}
	if err := os.WriteFile(a.path("tokens"), []byte(token+`,administrator,1,"system:masters"`+"\n"), 0o600); err != nil {
		return nil, err
	}
	command := exec.Command(filepath.Join(programs, "kube-apiserver"),
		"--etcd-servers="+l.Etcd.Endpoint(), "--bind-address=10.200.0.1", "--advertise-address=10.200.0.1", "--secure-port=6443",
		"--cert-dir="+a.path("certificates"), "--token-auth-file="+a.path("tokens"), "--authorization-mode=AlwaysAllow",
		"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file="+a.path("key"),
		"--service-account-signing-key-file="+a.path("key"), "--service-cluster-ip-range=10.96.0.0/16,fd00:10:96::/112",
		"--endpoint-reconciler-type=none", "--disable-admission-plugins=ServiceAccount")
	if err := a.daemon.start("", a.path("log"), command); err != nil {
		return nil, err
	}
	err = lab.Eventually(ctx, "kube-apiserver is ready", func() error {
		if a.daemon.ended() {
			return lab.Never(fmt.Errorf("kube-apiserver has ended: %s", a.daemon.says()))
		}
		_, err := a.call(ctx, http.MethodGet, "/readyz", nil)
		return err
	})
	if err != nil {
		a.stop()
		return nil, err
	}
	return a, nil
}

func (a *api) path(name string) string { return filepath.Join(a.dir, name) }

func (a *api) stop() {
	a.daemon.stop()
	_ = os.RemoveAll(a.dir)
}

// An object is what the API takes.
type object map[string]any

// create creates an object. What the server answers with is read into answer, unless that is nil.
func (a *api) create(ctx context.Context, path string, what object, answer any) error {
	text, err := a.call(ctx, http.MethodPost, path, what)
	if err != nil || answer == nil {
		return err
	}
	return json.Unmarshal(text, answer)
}

func (a *api) call(ctx context.Context, method, path string, what object) ([]byte, error) {
	body, err := json.Marshal(what)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, method, apiServer+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	answer, err := a.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode >= http.StatusMultipleChoices {
		err = fmt.Errorf("kube-apiserver: %s %s: %s: %s", method, path, answer.Status, target.Tail(string(text)))
	}
	return text, err
}

// node makes the API know a node by its addresses: kube-proxy reads there which are its own.
func (a *api) node(ctx context.Context, n *lab.Node) error {
	return a.create(ctx, "/api/v1/nodes", object{
		"metadata": object{"name": n.Name},
		"status": object{"addresses": []object{
			{"type": "InternalIP", "address": n.Address.String()}, {"type": "InternalIP", "address": n.V6.String()}}},
	}, nil)
}
