package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// A Member is one of an etcd's: a machine with a NIC on the switch, and a process that keeps its data over restarts.
type Member struct {
	Name    string // e1, e2, …
	Address netip.Addr

	etcd    *Etcd
	netns   string
	process *process
	client  *clientv3.Client // of this member alone
}

// Endpoint is where it answers clients.
func (m *Member) Endpoint() string { return "http://" + netip.AddrPortFrom(m.Address, 2379).String() }

func (m *Member) peerURL() string { return "http://" + netip.AddrPortFrom(m.Address, 2380).String() }

// Database is the file that it keeps what it holds in.
func (m *Member) Database() string { return filepath.Join(m.dir(), "member", "snap", "db") }

func (m *Member) dir() string { return filepath.Join(root, "etcd", m.Name) }

// Launch starts it and does not wait until it answers, which it does when most of the members are there.
func (m *Member) Launch() (err error) {
	job, err := json.Marshal(etcdJob{
		Name: m.Name, Dir: m.dir(), Client: m.Endpoint(), Peer: m.peerURL(), Cluster: m.etcd.initialCluster(), Token: m.etcd.token,
	})
	if err != nil {
		return err
	}
	command := exec.Command("/proc/self/exe")
	command.Env = append(os.Environ(), etcdJobIn+"="+string(job))
	if m.process, err = start(m.netns, m.Name, command); err != nil {
		return err
	}
	if m.client == nil {
		m.client, err = clientv3.New(clientConfig(m.Endpoint()))
	}
	return err
}

// Start starts it and waits until it answers with what most members have agreed on.
func (m *Member) Start(ctx context.Context) error {
	if err := m.Launch(); err != nil {
		return err
	}
	return m.await(ctx)
}

func (m *Member) await(ctx context.Context) error {
	return Eventually(ctx, "etcd "+m.Name+" answers", func() error {
		if !m.process.running() {
			return Never(fmt.Errorf("lab: etcd %s has ended: %s", m.Name, tail(m.process.log, 5)))
		}
		once, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := m.client.Get(once, "ready")
		return err
	})
}

// Halt stops it in good order; Start brings it back with what it held.
func (m *Member) Halt() error { return m.process.end(syscall.SIGTERM) }

// Kill stops it at once, whatever it does; Start brings it back with what it held.
func (m *Member) Kill() error { return m.process.end(syscall.SIGKILL) }

// Pause stops its clock: it keeps its connections and answers nobody until Resume.
func (m *Member) Pause() error { return m.process.pause() }

// Resume lets it go on after Pause.
func (m *Member) Resume() error { return m.process.resume() }

// Running reports whether its process is there, paused or not.
func (m *Member) Running() bool { return m.process.running() }

// Unplug pulls the member's cable, Plug puts it back.
func (m *Member) Unplug() error { return setCable(m.Name, false) }

// Plug puts the member's cable back.
func (m *Member) Plug() error { return setCable(m.Name, true) }

// stop ends it for good.
func (m *Member) stop() error {
	if m.client != nil {
		_ = m.client.Close()
	}
	return m.Kill()
}
