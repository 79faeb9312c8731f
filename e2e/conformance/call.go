package conformance

import (
	"bytes"
	"encoding/json"
	"errors"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/internal/sandbox"
)

// network is the name of the network that the rows' containers are in.
const network = "conformance"

// A call is one execution of the plugin. The zero value of each field leaves it to the row's configuration.
type call struct {
	verb      string
	env       map[string]string // over what libcni would set; an empty value leaves the variable out
	config    map[string]any    // over the subject's configuration; a nil value leaves the key out
	stdin     string            // in place of a configuration
	later     bool              // run by Subject.Later
	container *Container
}

// An Outcome is what an execution left.
type Outcome struct {
	Stdout, Stderr string
	Code           int // the exit code
}

// A Failure is the specification's error structure (section 5, "Error").
type Failure struct {
	CNIVersion string `json:"cniVersion"`
	Code       int    `json:"code"`
	Msg        string `json:"msg"`
	Details    string `json:"details"`
}

// A Result is the specification's success structure (section 5, "ADD Success"), as far as the rows read it.
type Result struct {
	CNIVersion string  `json:"cniVersion"`
	Interfaces []Entry `json:"interfaces"`
	IPs        []struct {
		Version   string       `json:"version"` // up to 0.4.0
		Address   netip.Prefix `json:"address"`
		Gateway   netip.Addr   `json:"gateway"`
		Interface *int         `json:"interface"`
	} `json:"ips"`
	Routes []struct {
		Dst netip.Prefix `json:"dst"`
		GW  netip.Addr   `json:"gw"`
	} `json:"routes"`
	raw map[string]any
}

// An Entry is one of a result's interfaces.
type Entry struct {
	Name    string `json:"name"`
	MAC     string `json:"mac"`
	Sandbox string `json:"sandbox"`
}

// exec executes the plugin on its host, with the environment that libcni gives.
func (r *Run) exec(c call) Outcome {
	environment := map[string]string{
		"PATH": os.Getenv("PATH"), "CNI_COMMAND": c.verb,
		"CNI_PATH": strings.Join(append([]string{filepath.Dir(r.Plugin)}, r.Path...), ":"),
	}
	if c.container != nil {
		environment["CNI_CONTAINERID"], environment["CNI_IFNAME"], environment["CNI_NETNS"] = c.container.ID,
			c.container.Interface, c.container.Netns
	}
	maps.Copy(environment, c.env)
	args := []string{r.Plugin}
	if c.later {
		args = append(slices.Clone(r.Later), args...)
	}
	command := exec.CommandContext(r, args[0], args[1:]...)
	for name, value := range environment {
		if value != "" {
			command.Env = append(command.Env, name+"="+value)
		}
	}
	var stdout, stderr bytes.Buffer
	command.Stdin, command.Stdout, command.Stderr = strings.NewReader(r.stdin(c)), &stdout, &stderr
	err := sandbox.Within(r.Netns, command.Run)
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		r.Fatalf("cannot execute %s: %v", r.Plugin, err)
	}
	return Outcome{Stdout: stdout.String(), Stderr: stderr.String(), Code: command.ProcessState.ExitCode()}
}

func (r *Run) stdin(c call) string {
	if c.stdin != "" {
		return c.stdin
	}
	config := map[string]any{"cniVersion": r.Version, "name": network}
	maps.Copy(config, r.Config)
	if c.container != nil && c.container.result != nil && c.verb != "ADD" {
		config["prevResult"] = c.container.result.raw
	}
	maps.Copy(config, c.config)
	maps.DeleteFunc(config, func(_ string, value any) bool { return value == nil })
	text, err := json.Marshal(config)
	if err != nil {
		r.Fatalf("configuration: %v", err)
	}
	return string(text)
}

// fails expects an error of one of the codes, none named: of any code that the specification leaves open to a plugin,
// and that it says the words.
func (r *Run) fails(o Outcome, codes []int, words ...string) Failure {
	var failure Failure
	if o.Code == 0 {
		r.Fatalf("it succeeds with %q: want an error", o.Stdout)
	}
	decoder := json.NewDecoder(strings.NewReader(o.Stdout))
	if err := decoder.Decode(&failure); err != nil || failure.Code == 0 || failure.Msg == "" || decoder.More() {
		r.Fatalf("standard output has %q: want one error structure with code and msg", o.Stdout)
	}
	if len(codes) > 0 && !slices.Contains(codes, failure.Code) {
		r.Errorf("code %d (%s %s): want %v", failure.Code, failure.Msg, failure.Details, codes)
	}
	if c := failure.Code; c > 11 && c < 50 || c > 51 && c < 100 {
		r.Errorf("code %d is reserved, and not defined", c)
	}
	for _, word := range words {
		if !strings.Contains(failure.Msg+" "+failure.Details, word) {
			r.Errorf("%q does not name %q", failure.Msg+" "+failure.Details, word)
		}
	}
	return failure
}

// succeeds expects exit code 0 and, where quiet, no output.
func (r *Run) succeeds(o Outcome, quiet bool) {
	if o.Code != 0 {
		r.Fatalf("exit code %d with %s%s", o.Code, o.Stdout, o.Stderr)
	}
	if quiet && strings.TrimSpace(o.Stdout) != "" {
		r.Errorf("standard output has %q: want none", o.Stdout)
	}
}

// result reads what a successful ADD printed: one structure and nothing else.
func (r *Run) result(o Outcome) *Result {
	r.succeeds(o, false)
	result := &Result{}
	if err := json.Unmarshal([]byte(o.Stdout), result); err != nil {
		r.Fatalf("standard output has %q: want one result structure: %v", o.Stdout, err)
	}
	if err := json.Unmarshal([]byte(o.Stdout), &result.raw); err != nil {
		r.Fatalf("%v", err)
	}
	return result
}

// addresses are those of the result.
func (res *Result) addresses() []netip.Addr {
	var all []netip.Addr
	for _, ip := range res.IPs {
		all = append(all, ip.Address.Addr())
	}
	return all
}
