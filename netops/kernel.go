// Package netops is what the kernel of a node holds: bridges, the ports that join containers to them, and the table
// that lets a port's traffic through or cuts it. Everything here is idempotent, and undone as a whole where it fails.
package netops

import (
	"fmt"
	"os"
)

// A Kernel works on one network namespace, the host's, and from there on those of containers. It is safe for
// concurrent use; for one port, one call at a time.
type Kernel struct {
	home    *os.File // the host's network namespace
	host    *sockets
	monitor *monitor
	bridges bridges
	table   *table
	heralds heralds

	speaksV6  bool // the host's kernel
	forgetful bool // it does not remember who gave an address (before Linux 5.18); under bridges.ensuring
}

// Open takes the calling thread's network namespace as the host's, begins to listen to its kernel and ensures the
// table. Close ends it; what the kernel holds stays.
func Open() (*Kernel, error) {
	home, err := threadNamespace()
	if err != nil {
		return nil, fmt.Errorf("netops: %w", err)
	}
	k := &Kernel{home: home, host: &sockets{namespace: home}, speaksV6: hasV6()}
	k.heralds.between = between
	ours := &senders{}
	if k.monitor, err = openMonitor(home, k.bridges.changed, ours); err != nil {
		k.Close()
		return nil, fmt.Errorf("netops: %w", err)
	}
	if k.table, err = openTable(home, ours); err != nil {
		k.Close()
		return nil, fmt.Errorf("netops: %w", err)
	}
	return k, nil
}

// Close lets go of the kernel. Events is closed then.
func (k *Kernel) Close() {
	if k.monitor != nil {
		k.monitor.close()
	}
	if k.table != nil {
		k.table.close()
	}
	k.heralds.close()
	k.host.close()
	k.home.Close()
}

// Events tells what ended or changed by itself. Whoever asks for it must read on: what is not read is kept in memory. It is
// closed when the Kernel is.
func (k *Kernel) Events() <-chan Event { return k.monitor.events }
