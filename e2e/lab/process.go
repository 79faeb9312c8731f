package lab

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/internal/sandbox"
)

// patience bounds every wait for a process or a state. It is long, since it only matters when something is broken.
const patience = 90 * time.Second

// statusPatience bounds the question to one member of etcd, which may be paused or cut off.
const statusPatience = 3 * time.Second

// A process is a program that runs on, with its output in a log.
type process struct {
	command *exec.Cmd
	ended   chan struct{} // closed when it has ended
	log     string
}

// start runs a program in the network namespace at netns, or in this one when netns is empty. It has a process group
// of its own, so that Ctrl-C reaches only who is to clean up. What prepare does to its thread, the program inherits.
func start(netns, name string, command *exec.Cmd, prepare ...func() error) (*process, error) {
	p := &process{command: command, ended: make(chan struct{}), log: filepath.Join(root, "logs", name)}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	command.Stdout, command.Stderr = log, log
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	err = within(netns, func() error {
		for _, f := range prepare {
			if err := f(); err != nil {
				return err
			}
		}
		return command.Start()
	})
	if err != nil {
		return nil, fmt.Errorf("lab: start %s: %w", name, err)
	}
	go func() {
		_ = command.Wait()
		close(p.ended)
	}()
	return p, nil
}

// keepOnly takes all other capabilities out of the thread's bounding set (capabilities(7)), for good; none named: it
// keeps all.
func keepOnly(capabilities []uintptr) error {
	if len(capabilities) == 0 {
		return nil
	}
	for c := uintptr(0); c <= unix.CAP_LAST_CAP; c++ {
		if slices.Contains(capabilities, c) {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, c, 0, 0, 0); err != nil && err != unix.EINVAL { // EINVAL: not in this kernel
			return fmt.Errorf("lab: drop capability %d: %w", c, err)
		}
	}
	return nil
}

// pause stops the process, all threads of it, until resume.
func (p *process) pause() error {
	if !p.running() {
		return errors.New("lab: pause: the process does not run")
	}
	if err := p.command.Process.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	// The signal takes a moment to reach every thread. The kernel tells when it has, and is asked to tell again.
	for {
		err := unix.Waitid(unix.P_PID, p.command.Process.Pid, nil, unix.WSTOPPED|unix.WNOWAIT, nil)
		if err != unix.EINTR {
			return err
		}
	}
}

// resume lets the process go on.
func (p *process) resume() error {
	if !p.running() {
		return errors.New("lab: resume: the process does not run")
	}
	return p.command.Process.Signal(syscall.SIGCONT)
}

// end sends the signal and waits; whatever does not heed it is killed. One that is paused goes on, so that it can heed
// it. A process that has ended, or never was, is success.
func (p *process) end(signal syscall.Signal) error {
	if p == nil {
		return nil
	}
	if err := p.command.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	_ = p.command.Process.Signal(syscall.SIGCONT)
	select {
	case <-p.ended:
		return nil
	case <-time.After(patience):
	}
	_ = p.command.Process.Kill()
	<-p.ended
	return fmt.Errorf("lab: %s did not end within %v of signal %v", filepath.Base(p.log), patience, signal)
}

// running reports whether the process has not ended.
func (p *process) running() bool {
	if p == nil {
		return false
	}
	select {
	case <-p.ended:
		return false
	default:
		return true
	}
}

// within runs f in a thread of the namespace; a program that f starts there is in that namespace too.
func within(netns string, f func() error) error {
	if netns == "" {
		return f()
	}
	return sandbox.Within(netns, f)
}

// tail gives the last lines of a file; what cannot be read is empty.
func tail(path string, lines int) string {
	text, _ := os.ReadFile(path)
	all := strings.SplitAfter(string(text), "\n")
	return strings.Join(all[max(0, len(all)-lines-1):], "")
}
