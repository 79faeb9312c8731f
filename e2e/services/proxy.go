package main

import (
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/berth-ipam/berth/e2e/lab"
)

// legacy is kube-proxy's iptables mode with the programs of iptables that keep their rules past nftables.
const legacy = "iptables-legacy"

// kubeconfig writes how kube-proxy reaches the API.
func (a *api) kubeconfig() (path string, err error) {
	text, err := json.Marshal(object{
		"apiVersion": "v1", "kind": "Config", "current-context": "c",
		"clusters": []object{{"name": "c", "cluster": object{"server": apiServer, "insecure-skip-tls-verify": true}}},
		"users":    []object{{"name": "u", "user": object{"token": token}}},
		"contexts": []object{{"name": "c", "context": object{"cluster": "c", "user": "u"}}},
	})
	if err != nil {
		return "", err
	}
	path = a.path("kubeconfig")
	return path, os.WriteFile(path, text, 0o600)
}

// startProxy runs a node's kube-proxy in one of its modes. The sandbox is not allowed to change the machine's limits of connections.
func startProxy(a *api, n *lab.Node, programs, proxy, cidrs string) (*daemon, error) {
	config, err := a.kubeconfig()
	if err != nil {
		return nil, err
	}
	command := exec.Command(filepath.Join(programs, "kube-proxy"), "--kubeconfig="+config, "--hostname-override="+n.Name,
		"--proxy-mode="+strings.TrimSuffix(proxy, "-legacy"), "--cluster-cidr="+cidrs, "--conntrack-max-per-core=0",
		"--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0")
	kind := "xtables-nft-multi"
	if proxy == legacy {
		kind = "xtables-legacy-multi"
	}
	dir, err := iptables(a.path(kind), kind)
	if err != nil {
		return nil, err
	}
	command.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	d := &daemon{}
	return d, d.start(n.Netns(), a.path("kube-proxy-"+n.Name+"-"+proxy), command)
}

// iptables makes a directory in which iptables' programs are those of a kind.
func iptables(dir, kind string) (string, error) {
	err := os.MkdirAll(dir, 0o755)
	for _, family := range []string{"iptables", "ip6tables"} {
		for _, verb := range []string{"", "-save", "-restore"} {
			link := os.Symlink(filepath.Join("/usr/sbin", kind), filepath.Join(dir, family+verb))
			if !errors.Is(link, os.ErrExist) {
				err = errors.Join(err, link)
			}
		}
	}
	return dir, err
}
