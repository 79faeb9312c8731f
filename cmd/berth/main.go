// Command berth is Berth's CNI plugin (CNI specification 1.1.0). It turns what the runtime says into one request to
// this node's agent, and the answer back into CNI. It works as an interface plugin ("type": "berth") and as the IPAM
// plugin of another ("ipam": {"type": "berth"}).
package main

import (
	"encoding/json"
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/containernetworking/cni/pkg/types"
	cniversion "github.com/containernetworking/cni/pkg/version"

	"github.com/berth-ipam/berth/internal/clock"
)

// version of this binary; the linker sets it.
var version = "dev"

func main() {
	p := &plugin{began: clock.Boottime(), spec: cniversion.Current()}
	if err := checkEnvironment(); err != nil {
		p.fail(err)
	}
	err := skel.PluginMainFuncsWithError(skel.CNIFuncs{
		Add:    p.verb("ADD", add),
		Del:    p.verb("DEL", del),
		Check:  p.verb("CHECK", check),
		GC:     p.verb("GC", gc),
		Status: p.verb("STATUS", status),
	}, versions{}, "berth "+version+" is a CNI plugin: a container runtime calls it")
	if err != nil {
		p.fail(err)
	}
}

// fail prints an error as the specification says, section 5, "Error", and exits.
func (p *plugin) fail(err *types.Error) {
	_ = json.NewEncoder(os.Stdout).Encode(struct {
		CNIVersion string `json:"cniVersion"`
		*types.Error
	}{p.spec, err})
	os.Exit(1)
}
