package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/target"
)

const kubernetes = "1.36.3"

// debian are the packages whose programs kube-proxy and portmap call, and a program of each.
var debian = map[string]string{"iptables": "/usr/sbin/iptables-nft", "nftables": "/usr/sbin/nft"}

// tools are where the programs lie that the stories need.
type tools struct {
	berth   string // berth, berthd, berthctl
	built   string // kube-apiserver, kube-proxy
	plugins string // the CNI project's
}

// fetch installs and builds what is not there yet. Inside of the sandbox all of it is there.
func fetch(ctx context.Context) (t tools, err error) {
	cache, err := target.NewCache("berth-services")
	if err != nil {
		return t, err
	}
	if err := cache.Debian(ctx, debian); err != nil {
		return t, err
	}
	t.built = filepath.Join(cache.Dir, "kubernetes-"+kubernetes)
	for _, program := range []string{"kube-proxy", "kube-apiserver"} {
		if err := build(ctx, cache, t.built, program); err != nil {
			return t, err
		}
	}
	if t.plugins, err = lab.Plugins(); err != nil {
		return t, err
	}
	t.berth, err = lab.Build()
	return t, err
}

func build(ctx context.Context, cache target.Cache, dir, program string) error {
	to := filepath.Join(dir, program)
	if target.There(to) {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	staging, err := cache.StagingOf(ctx, kubernetes)
	if err != nil {
		return err
	}
	edits := append([]string{"-require", "k8s.io/kubernetes@v" + kubernetes}, staging...)
	return cache.BuildIn(ctx, to, "k8s.io/kubernetes/cmd/"+program, edits, "-ldflags",
		"-s -w -X k8s.io/component-base/version.gitVersion=v"+kubernetes+" -X k8s.io/client-go/pkg/version.gitVersion=v"+kubernetes)
}
