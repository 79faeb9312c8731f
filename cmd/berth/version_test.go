package main

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/internal/wire"
)

const supported = `"cniVersion":"1.1.0","supportedVersions":["0.3.1","0.4.0","1.0.0","1.1.0"]`

func TestVersionSaysWhatTheAgentKnows(t *testing.T) {
	knows := newAgent(t, func(r *wire.Request) *wire.Response {
		if r.Operation != wire.Read || r.Verb != "VERSION" || len(r.Containers) > 0 {
			t.Errorf("the request is %+v: want a read without containers", r)
		}
		return &wire.Response{Revision: &wire.Revision{Revision: 41, Applied: 40}}
	})
	refuses := newAgent(t, func(*wire.Request) *wire.Response {
		return &wire.Response{Error: wire.Errorf(wire.CodeOperation, "read is off")}
	})
	stuck := newAgent(t, func(*wire.Request) *wire.Response { return nil })
	for socket, want := range map[string]string{
		knows.socket:                       "{" + supported + `,"berth":{"revision":41,"applied":40,"complete":false}}`,
		refuses.socket:                     "{" + supported + "}",
		stuck.socket:                       "{" + supported + "}",
		filepath.Join(shortDir(t), "none"): "{" + supported + "}",
	} {
		within(t, "VERSION", func() {
			output := invocation{verb: "VERSION", id: "-", netns: "-", ifname: "-", env: []string{"BERTH_SOCKET=" + socket}}.succeeds(t, socket)
			if strings.TrimSpace(output) != want {
				t.Errorf("it prints %s: want %s", output, want)
			}
		})
	}
}

func TestVersionNeedsNothingButItsName(t *testing.T) {
	command := exec.Command(binary)
	command.Env = []string{"CNI_COMMAND=VERSION"}
	output, err := command.Output()
	must(t, err)
	var answer struct {
		CNIVersion        string   `json:"cniVersion"`
		SupportedVersions []string `json:"supportedVersions"`
	}
	must(t, json.Unmarshal(output, &answer))
	if answer.CNIVersion != "1.1.0" || len(answer.SupportedVersions) != 4 {
		t.Errorf("it prints %s: want %s", output, supported)
	}
}

func TestAPersonIsToldWhatItIs(t *testing.T) {
	command := exec.Command(binary)
	command.Env = []string{}
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	must(t, command.Run())
	if stdout.Len() > 0 || !strings.Contains(stderr.String(), "berth") || !strings.Contains(stderr.String(), "v1.2.3") {
		t.Errorf("it prints %q and %q: want its name and version on standard error", stdout.String(), stderr.String())
	}
}
