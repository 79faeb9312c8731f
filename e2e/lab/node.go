package lab

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
)

// A Node is a machine of the lab: a network namespace with a NIC, and an agent that runs in it.
type Node struct {
	Name    string
	Address netip.Addr // on the nodes' network; zero when the lab is one node alone
	V6      netip.Addr // the same of IPv6, in a lab that has it
	Flags   []string   // further flags of its berthd, besides those of the lab
	// Capabilities are all that its berthd has (capabilities(7)); none named: all.
	Capabilities []uintptr
	// Machine and Boot are what its berthd takes for the identity of the machine and of its run; empty: what it finds
	// out, which is the same machine for all nodes.
	Machine, Boot string
	// ClockOffset is how far the CLOCK_BOOTTIME of its programs is ahead of the machine's, from their start on. A
	// change while the agent is away is a jump of the clock. Not everywhere possible: see ClocksCanJump.
	ClockOffset time.Duration

	lab     *Lab
	netns   string
	process atomic.Pointer[process]
	web     http.Client // of the agent
	reads   http.Client // of etcd
	boots   int         // power cuts survived
	life    life

	mu         sync.Mutex
	containers []string // paths of their namespaces
}

// metricsAddress is berthd's default; each node has its own loopback.
const metricsAddress = "127.0.0.1:9473"

func (l *Lab) node(number int) *Node {
	n := &Node{Name: fmt.Sprintf("n%d", number), lab: l}
	n.netns = filepath.Join(namespaces, n.Name)
	if l.options.Machines {
		n.Machine = "machine-of-" + n.Name
	}
	four, six := placeOf(number, l.options.Apart > 0 && number >= l.options.Apart)
	if !l.options.Alone {
		n.Address = four
	}
	if l.options.IPv6 {
		n.V6 = six
	}
	n.web = http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: dialIn(n.netns)}}
	n.reads = http.Client{Transport: &http.Transport{DialContext: dialIn(n.netns)}}
	return n
}

// addresses are those of its NIC.
func (n *Node) addresses() []netip.Addr {
	if n.V6.IsValid() {
		return []netip.Addr{n.Address, n.V6}
	}
	return []netip.Addr{n.Address}
}

// MAC is that of its NIC, in a lab with a switch.
func (n *Node) MAC() net.HardwareAddr { return macOf(n.addresses()) }

// RunDir is where the agent has its socket, journal and spool; it outlives the agent.
func (n *Node) RunDir() string { return filepath.Join(root, n.Name) }

// Netns is the path of the node's network namespace.
func (n *Node) Netns() string { return n.netns }

// Socket is the agent's.
func (n *Node) Socket() string { return filepath.Join(n.RunDir(), "berth.sock") }

// DataDir is where an agent with an etcd of its own keeps that.
func (n *Node) DataDir() string { return filepath.Join(root, n.Name+".data") }

// Launch starts the agent and does not wait for it.
func (n *Node) Launch() error {
	flags := []string{"--node", n.Name, "--run-dir", n.RunDir(), "--data-dir", n.DataDir()}
	if n.lab.Etcd != nil {
		flags = append(flags, "--etcd-endpoints", strings.Join(n.lab.Etcd.Endpoints(), ","))
	}
	if n.Machine != "" {
		flags = append(flags, "--machine", n.Machine)
	}
	if n.Boot != "" {
		flags = append(flags, "--boot", n.Boot)
	}
	flags = append(append(flags, n.lab.options.Flags...), n.Flags...)
	command := exec.Command(n.binary("berthd"), flags...)
	agent, err := start(n.netns, n.Name, command, func() error {
		return errors.Join(setBootClockOff(n.ClockOffset), keepOnly(n.Capabilities))
	})
	n.process.Store(agent)
	return err
}

// Start starts the agent and waits until it can serve.
func (n *Node) Start(ctx context.Context) error {
	if err := n.Launch(); err != nil {
		return err
	}
	return n.AwaitReady(ctx)
}

// AwaitReady waits until the agent says that it can serve.
func (n *Node) AwaitReady(ctx context.Context) error {
	return Eventually(ctx, "berthd of "+n.Name+" is ready", func() error {
		if !n.process.Load().running() {
			return Never(fmt.Errorf("lab: berthd of %s has ended: %s", n.Name, tail(n.process.Load().log, 10)))
		}
		status, body, err := n.HTTP(ctx, "/readyz")
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("/readyz says %d: %s", status, strings.TrimSpace(body))
		}
		return err
	})
}

// Stop ends the agent in good order; the node and its containers stay.
func (n *Node) Stop() error { return n.process.Load().end(syscall.SIGTERM) }

// Kill ends the agent as a crash would.
func (n *Node) Kill() error { return n.process.Load().end(syscall.SIGKILL) }

// Pause stops the agent's clock: it answers nobody until Resume. The kernel goes on.
func (n *Node) Pause() error { return n.process.Load().pause() }

// Resume lets the agent go on after Pause.
func (n *Node) Resume() error { return n.process.Load().resume() }

// Running reports whether the agent's process is there, paused or not.
func (n *Node) Running() bool { return n.process.Load().running() }

// PID is the agent's process id.
func (n *Node) PID() int { return n.process.Load().command.Process.Pid }

// Log gives the last lines of the agent's log.
func (n *Node) Log(lines int) string { return tail(filepath.Join(root, "logs", n.Name), lines) }

// Unplug pulls the node's cable, Plug puts it back.
func (n *Node) Unplug() error { return setCable(n.Name, false) }

// Plug puts the node's cable back.
func (n *Node) Plug() error { return setCable(n.Name, true) }

// Within runs f on a thread that is in the node's network namespace.
func (n *Node) Within(f func() error) error { return within(n.netns, f) }

// Run runs a program in the node and gives its standard output; an error holds what it said on standard error.
func (n *Node) Run(ctx context.Context, name string, args ...string) (string, error) {
	return run(n.netns, exec.CommandContext(ctx, name, args...))
}

// Berthctl runs berthctl in the node, on the agent's socket and the lab's etcd.
func (n *Node) Berthctl(ctx context.Context, args ...string) (string, error) {
	flags := []string{"--run-dir", n.RunDir()}
	if n.lab.Etcd != nil {
		flags = append(flags, "--etcd-endpoints", strings.Join(n.lab.Etcd.Endpoints(), ","))
	}
	return n.Run(ctx, n.binary("berthctl"), append(flags, args...)...)
}

// Berthd runs another berthd in the node until it ends, and gives all that it printed.
func (n *Node) Berthd(ctx context.Context, args ...string) (string, error) {
	var output []byte
	err := within(n.netns, func() (err error) {
		output, err = exec.CommandContext(ctx, n.binary("berthd"), args...).CombinedOutput()
		return err
	})
	return string(output), err
}

// HTTP gets a path from the agent's web server.
func (n *Node) HTTP(ctx context.Context, path string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+metricsAddress+path, nil)
	if err != nil {
		return 0, "", err
	}
	answer, err := n.web.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	return answer.StatusCode, string(text), err
}

// Metric adds up the series of a name whose labels include those given as name, value, name, value.
func (n *Node) Metric(ctx context.Context, name string, labels ...string) (float64, error) {
	_, body, err := n.HTTP(ctx, "/metrics")
	if err != nil {
		return 0, err
	}
	parser := expfmt.NewTextParser(model.UTF8Validation)
	families, err := parser.TextToMetricFamilies(strings.NewReader(body))
	if err != nil {
		return 0, err
	}
	family, ok := families[name]
	if !ok {
		return 0, fmt.Errorf("lab: berthd of %s has no metric %s", n.Name, name)
	}
	var sum float64
	for _, series := range family.Metric {
		if hasLabels(series, labels) {
			sum += series.GetGauge().GetValue() + series.GetCounter().GetValue() + float64(series.GetHistogram().GetSampleCount())
		}
	}
	return sum, nil
}

func hasLabels(series *dto.Metric, wanted []string) bool {
	has := map[string]string{}
	for _, pair := range series.Label {
		has[pair.GetName()] = pair.GetValue()
	}
	for i := 0; i < len(wanted); i += 2 {
		if has[wanted[i]] != wanted[i+1] {
			return false
		}
	}
	return true
}

func (n *Node) binary(name string) string { return filepath.Join(n.lab.options.Binaries, name) }

// run runs a command in a namespace and gives its standard output.
func run(netns string, command *exec.Cmd) (string, error) {
	var output []byte
	err := within(netns, func() (err error) {
		output, err = command.Output()
		return err
	})
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		err = &ExitError{Program: filepath.Base(command.Path), Code: exit.ExitCode(), Stderr: strings.TrimSpace(string(exit.Stderr))}
	}
	return string(output), err
}

// An ExitError is that of a program that ended badly.
type ExitError struct {
	Program string
	Code    int
	Stderr  string
}

func (e *ExitError) Error() string {
	return fmt.Sprintf("%s ended with %d: %s", e.Program, e.Code, e.Stderr)
}
