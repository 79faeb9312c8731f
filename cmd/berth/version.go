package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"time"

	cniversion "github.com/containernetworking/cni/pkg/version"

	"github.com/berth-ipam/berth/internal/clock"
	"github.com/berth-ipam/berth/internal/wire"
)

// revisionTime is how long VERSION waits for the agent's word. Runtimes ask for the versions whether or not there is
// an agent, and the specification's answer needs none.
const revisionTime = 100 * time.Millisecond

// versions is what VERSION answers: the versions of the CNI specification that the plugin speaks, and the revision of
// Berth's configuration as the agent knows it.
type versions struct{}

// SupportedVersions are those that skel accepts in a configuration.
func (versions) SupportedVersions() []string {
	return cniversion.VersionsStartingFrom("0.3.1").SupportedVersions()
}

// Encode prints the answer (CNI specification 1.1.0, section 5, "Version"). Without an agent's word it is the
// specification's own.
func (v versions) Encode(w io.Writer) error {
	return json.NewEncoder(w).Encode(struct {
		CNIVersion        string         `json:"cniVersion"`
		SupportedVersions []string       `json:"supportedVersions"`
		Berth             *wire.Revision `json:"berth,omitempty"`
	}{cniversion.Current(), v.SupportedVersions(), revision()})
}

// revision asks the agent; VERSION has no configuration, so that another socket than the default comes from the
// environment.
func revision() *wire.Revision {
	socket := os.Getenv("BERTH_SOCKET")
	if socket == "" {
		socket = defaultSocket
	}
	ctx, cancel := context.WithTimeout(context.Background(), revisionTime)
	defer cancel()
	response, err := wire.Call(ctx, socket, 0, &wire.Request{Operation: wire.Read, Verb: "VERSION", Started: int64(clock.Boottime())}, nil)
	if err != nil {
		return nil
	}
	return response.Revision
}
