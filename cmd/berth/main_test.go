package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/internal/wire"
)

// built in the environment names the plugin's binary where it cannot be built, as with a test binary that runs apart
// from its source.
const built = "BERTH_TEST_PLUGIN"

// binary is the plugin as it is shipped.
var binary = os.Getenv(built)

// netns is a container's network namespace.
const netns = "/run/netns/c1"

func TestMain(m *testing.M) {
	if err := sandbox.Enter(); err != nil {
		fmt.Println("skipped:", err)
		os.Exit(0)
	}
	os.Exit(runAll(m))
}

func runAll(m *testing.M) int {
	dir, err := os.MkdirTemp("", "berth")
	if err == nil && binary == "" {
		binary = filepath.Join(dir, "berth")
		err = build()
	}
	if err == nil {
		err = sandbox.Namespace(netns)
	}
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer os.RemoveAll(dir)
	return m.Run()
}

func build() error {
	command := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.version=v1.2.3", "-o", binary, ".")
	command.Env = append(os.Environ(), "CGO_ENABLED=0")
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", command, err, output)
	}
	return nil
}

// An agent is the protocol's other end: it keeps what it was asked, and answers.
type agent struct {
	socket   string
	mu       sync.Mutex
	requests []*wire.Request
}

// newAgent listens where no agent has, unless a socket is given. A nil answer is silence until the caller hangs up.
func newAgent(t *testing.T, answer func(*wire.Request) *wire.Response, socket ...string) *agent {
	t.Helper()
	a := &agent{socket: filepath.Join(shortDir(t), "berth.sock")}
	if len(socket) > 0 {
		a.socket = socket[0]
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: a.socket, Net: "unix"})
	must(t, err)
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				a.serve(t, conn, answer)
			})
		}
	})
	t.Cleanup(func() {
		l.Close()
		serving.Wait()
	})
	return a
}

func (a *agent) serve(t *testing.T, conn *net.UnixConn, answer func(*wire.Request) *wire.Response) {
	r, files, err := wire.Receive(conn, wire.ReceiveTime, nil)
	if err != nil {
		t.Errorf("the plugin sent no request: %v", err)
		return
	}
	for i, f := range files {
		defer f.Close()
		want, _ := os.Stat(r.Containers[i].Netns)
		if got, err := f.Stat(); err != nil || !os.SameFile(got, want) {
			t.Errorf("file %d beside the request is not %s (error %v)", i+1, r.Containers[i].Netns, err)
		}
	}
	if len(r.Containers) > 0 && r.Containers[0].NetnsFile != len(files) {
		t.Errorf("the request names file %d, and %d came", r.Containers[0].NetnsFile, len(files))
	}
	a.mu.Lock()
	a.requests = append(a.requests, r)
	a.mu.Unlock()
	response := answer(r)
	if response == nil {
		<-wire.UntilGone(context.Background(), conn).Done()
		return
	}
	if err := wire.Reply(conn, response); err != nil {
		t.Errorf("the plugin does not take its answer: %v", err)
	}
}

// asked takes what the agent was asked since the last time.
func (a *agent) asked() []*wire.Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	requests := a.requests
	a.requests = nil
	return requests
}

// one takes the one request that there must be.
func (a *agent) one(t *testing.T) *wire.Request {
	t.Helper()
	requests := a.asked()
	if len(requests) != 1 {
		t.Fatalf("the agent was asked %d times: want once", len(requests))
	}
	return requests[0]
}

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "b")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// An invocation is a call to the plugin, as a runtime makes it. The zero values stand for what is usual; "-" for what is not there.
type invocation struct {
	verb, id, netns, ifname, args string
	env                           []string
	config                        string // SOCKET in it is the agent's
}

func (i invocation) command(t *testing.T, socket string) *exec.Cmd {
	command := exec.CommandContext(t.Context(), binary)
	command.Stdin = strings.NewReader(strings.ReplaceAll(i.config, "SOCKET", socket))
	command.Env = append([]string{"CNI_PATH=/opt/cni/bin", "TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, i.env...)
	for _, v := range [][3]string{
		{"CNI_COMMAND", i.verb, "ADD"}, {"CNI_CONTAINERID", i.id, "c1"}, {"CNI_NETNS", i.netns, netns}, {"CNI_IFNAME", i.ifname, "eth0"},
	} {
		if value := v[1]; value == "" {
			command.Env = append(command.Env, v[0]+"="+v[2])
		} else if value != "-" {
			command.Env = append(command.Env, v[0]+"="+value)
		}
	}
	if i.args != "" {
		command.Env = append(command.Env, "CNI_ARGS="+i.args)
	}
	return command
}

// run runs the plugin, which has to be silent on standard error. The error is what it printed if it failed.
func (i invocation) run(t *testing.T, socket string) (string, *types.Error) {
	t.Helper()
	command := i.command(t, socket)
	var stdout, stderr bytes.Buffer
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	if stderr.Len() > 0 {
		t.Errorf("on standard error: %s", stderr.String())
	}
	if err == nil {
		return stdout.String(), nil
	}
	var failure struct {
		CNIVersion string `json:"cniVersion"`
		types.Error
	}
	exit, ok := errors.AsType[*exec.ExitError](err)
	if !ok || exit.ExitCode() != 1 {
		t.Fatalf("it ended with %v: want exit code 1", err)
	}
	decoder := json.NewDecoder(&stdout)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&failure); err != nil || failure.CNIVersion == "" || failure.Msg == "" || decoder.More() {
		t.Fatalf("standard output is not one CNI error: %v", err)
	}
	return "", &failure.Error
}

// fails runs the plugin, which must fail with a code and say all the words.
func (i invocation) fails(t *testing.T, socket string, code uint, words ...string) {
	t.Helper()
	output, failure := i.run(t, socket)
	if failure == nil {
		t.Fatalf("it succeeds with %q: want code %d", output, code)
	}
	if failure.Code != code {
		t.Errorf("code %d (%v): want %d", failure.Code, failure, code)
	}
	for _, word := range words {
		if !strings.Contains(failure.Error(), word) {
			t.Errorf("%q does not say %q", failure, word)
		}
	}
}

// succeeds runs the plugin, which must succeed, and returns what it printed.
func (i invocation) succeeds(t *testing.T, socket string) string {
	t.Helper()
	output, failure := i.run(t, socket)
	if failure != nil {
		t.Fatalf("it fails: code %d, %v", failure.Code, failure)
	}
	return output
}

// within fails the test if f takes so long that it must be stuck.
func within(t *testing.T, what string, f func()) {
	t.Helper()
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	select {
	case <-done:
	case <-time.After(time.Minute):
		t.Fatalf("%s: it is stuck", what)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
