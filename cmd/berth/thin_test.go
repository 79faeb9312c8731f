package main

import (
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// linked is what the plugin links besides the standard library: each package costs every start of a container.
var linked = []string{
	"github.com/berth-ipam/berth/cmd/berth",
	"github.com/berth-ipam/berth/internal/clock",
	"github.com/berth-ipam/berth/internal/disk",
	"github.com/berth-ipam/berth/internal/ifname",
	"github.com/berth-ipam/berth/internal/nearest",
	"github.com/berth-ipam/berth/internal/wire",
	"github.com/containernetworking/cni/pkg/ns",
	"github.com/containernetworking/cni/pkg/skel",
	"github.com/containernetworking/cni/pkg/types",
	"github.com/containernetworking/cni/pkg/types/020",
	"github.com/containernetworking/cni/pkg/types/040",
	"github.com/containernetworking/cni/pkg/types/100",
	"github.com/containernetworking/cni/pkg/types/create",
	"github.com/containernetworking/cni/pkg/types/internal",
	"github.com/containernetworking/cni/pkg/utils",
	"github.com/containernetworking/cni/pkg/version",
	"github.com/vishvananda/netns",
	"golang.org/x/sys/unix",
}

func TestThePluginLinksNothingHeavy(t *testing.T) {
	command := exec.Command("go", "list", "-deps", "-f",
		`{{if or (not .Standard) (eq .ImportPath "net/http" "crypto/tls" "text/template")}}{{.ImportPath}}{{end}}`, ".")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	output, err := command.Output()
	must(t, err)
	got := strings.Fields(string(output))
	slices.Sort(got)
	if !slices.Equal(got, linked) {
		t.Errorf("it links\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(linked, "\n"))
	}
}

func TestThePluginIsSmall(t *testing.T) {
	const limit = 4_000_000
	info, err := os.Stat(binary)
	must(t, err)
	if info.Size() >= limit {
		t.Errorf("the binary has %d bytes: want fewer than %d", info.Size(), limit)
	}
}
