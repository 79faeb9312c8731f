package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/berth-ipam/berth/e2e/target"
	"github.com/berth-ipam/berth/internal/sandbox"
)

// A daemon is a program that runs on, with its output in a file.
type daemon struct {
	command *exec.Cmd
	over    chan struct{} // closed when it has ended
	log     string
}

// start starts it in a network namespace; empty: in this one.
func (d *daemon) start(netns, log string, command *exec.Cmd) error {
	file, err := os.Create(log)
	if err != nil {
		return err
	}
	defer file.Close()
	d.command, d.over, d.log = command, make(chan struct{}), log
	command.Stdout, command.Stderr = file, file
	command.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for who cleans up
	begin := command.Start
	if netns != "" {
		begin = func() error { return sandbox.Within(netns, command.Start) }
	}
	if err := begin(); err != nil {
		return fmt.Errorf("start %s: %w", filepath.Base(command.Path), err)
	}
	go func() {
		_ = command.Wait()
		close(d.over)
	}()
	return nil
}

func (d *daemon) ended() bool {
	select {
	case <-d.over:
		return true
	default:
		return false
	}
}

// says is the end of its log.
func (d *daemon) says() string {
	text, _ := os.ReadFile(d.log)
	return target.Tail(string(text))
}

// stop asks it to end, and kills it when it does not.
func (d *daemon) stop() {
	_ = d.command.Process.Signal(syscall.SIGTERM)
	select {
	case <-d.over:
	case <-time.After(20 * time.Second):
		_ = d.command.Process.Kill()
		<-d.over
	}
}
