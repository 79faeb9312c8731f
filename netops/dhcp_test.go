package netops

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A dhcpNet is a host with a NIC, and beyond it a real DHCP server, which has one lease.
type dhcpNet struct {
	*testing.T
	k         *Kernel
	host, far space
	dir       string
}

const lease = "192.0.2.10/24"

// newDHCPNet skips the test where one of the programs is missing.
func newDHCPNet(t *testing.T, programs ...string) *dhcpNet {
	for _, program := range append(programs, "dnsmasq") {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed (packages isc-dhcp-client, systemd, dnsmasq-base)", program)
		}
	}
	plug := newSwitch(t)
	n := &dhcpNet{T: t, far: newSpace(t)}
	plug(n.far, "eth0")
	n.far.Give("eth0", "192.0.2.254/24")
	n.k, n.host = newHost(t)
	plug(n.host, "nic0")
	var err error
	n.dir, err = os.MkdirTemp("/run", "dhcp")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(n.dir) })
	// Option 58 is when the client renews, in seconds; 6 without a value keeps it from /etc/resolv.conf.
	n.start(n.far, "dnsmasq", "--no-daemon", "--port=0", "--conf-file=/dev/null", "--user=root", "--bind-interfaces", "--interface=eth0",
		"--dhcp-range=192.0.2.10,192.0.2.10,2m", "--dhcp-option-force=58,5", "--dhcp-option-force=59,100", "--dhcp-option=6",
		"--dhcp-option=3,192.0.2.254", "--dhcp-authoritative", "--no-ping", "--dhcp-leasefile="+n.file("server"),
		"--pid-file="+n.file("dnsmasq.pid"))
	return n
}

func (n *dhcpNet) file(name string) string { return filepath.Join(n.dir, name) }

// start runs a program until the test ends.
func (n *dhcpNet) start(s space, name string, args ...string) {
	n.Helper()
	var said bytes.Buffer
	command := exec.Command(name, args...)
	command.Stdout, command.Stderr = &said, &said
	s.Do(command.Start)
	n.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
		if n.Failed() {
			n.Logf("%s said:\n%s", name, said.Bytes())
		}
	})
}

// ensures makes the bridge, or finds it as it is to be.
func (n *dhcpNet) ensures(b Bridge) {
	n.Helper()
	_, err := n.k.EnsureBridge(b)
	must(n.T, err)
}

// reached checks that the host is reached by its lease.
func (n *dhcpNet) reached() {
	n.Helper()
	if !hears(n.T, n.far, n.host, netip.MustParsePrefix(lease).Addr(), patience) {
		n.Error("the host is not reached by its lease")
	}
}

// A DHCP client knows the NIC only, and its lease is renewed after five seconds: the host's address outlives its first lease.
func TestTheLeaseOfARealDHCPClientLivesOnOnTheBridge(t *testing.T) {
	n := newDHCPNet(t, "dhclient")
	must(t, os.WriteFile(n.file("dhclient.conf"), []byte("request subnet-mask, routers, dhcp-renewal-time, dhcp-rebinding-time;\n"), 0o600))
	n.start(n.host, "dhclient", "-4", "-d", "-v", "-cf", n.file("dhclient.conf"), "-lf", n.file("client"), "-pf", n.file("dhclient.pid"),
		"nic0")
	eventually(t, "the client has a lease", func() bool { return lifetimes(n.host, "nic0")[lease] > 0 })

	b := Bridge{Name: "berth0", Uplink: "nic0"}
	n.ensures(b)
	if left, has := lifetimes(n.host, "nic0"), lifetimes(n.host, "berth0"); len(left) != 0 || has[lease] == 0 {
		t.Fatalf("the NIC has %v, the bridge %v", left, has)
	}
	for range 2 {
		eventually(t, "the client renews on the NIC", func() bool { return lifetimes(n.host, "nic0")[lease] > 0 })
		n.ensures(b)
		if left, has := lifetimes(n.host, "nic0"), lifetimes(n.host, "berth0"); len(left) != 0 || has[lease] < 110 {
			t.Errorf("after a renewal the NIC has %v, the bridge %v: want the whole lease there", left, has)
		}
	}
	n.reached()
}

// systemd-networkd renews on a socket of its own, which gets no answers on a port: docs/uplink.md has it ask on the bridge.
func TestNetworkdRenewsItsLeaseOnTheBridgeBesideTheGateway(t *testing.T) {
	const networkd, gateway = "/lib/systemd/systemd-networkd", "10.9.0.1/16"
	if err := exec.Command("chown", "systemd-network", t.TempDir()).Run(); err != nil {
		t.Skip("nobody can become the user systemd-network here, as networkd does: ", err)
	}
	n := newDHCPNet(t, networkd)
	b := Bridge{Name: "berth0", Uplink: "nic0", Addresses: []netip.Prefix{netip.MustParsePrefix(gateway)}}
	n.ensures(b)
	n.start(n.host, "unshare", "--mount", "--propagation", "private", "sh", "-ec", `
		mount -t sysfs -o ro sysfs /sys # networkd waits for udev where it can be written
		mount -t tmpfs tmpfs /run
		mkdir -p /run/systemd/network /run/systemd/netif
		chmod 755 /run/systemd /run/systemd/netif
		chown systemd-network /run/systemd/netif
		printf '[Match]\nName=berth0\n[Network]\nDHCP=ipv4\n' >/run/systemd/network/10-berth0.network
		exec `+networkd)
	eventually(t, "the bridge has a lease", func() bool { return lifetimes(n.host, "berth0")[lease] > 0 })
	both := func() {
		t.Helper()
		all := lifetimes(n.host, "berth0")
		if _, has := all[gateway]; !has || all[lease] == 0 {
			t.Errorf("the bridge has %v: want the lease and the gateway", all)
		}
	}
	for range 2 {
		both()
		eventually(t, "the lease ages", func() bool { return lifetimes(n.host, "berth0")[lease] < 117 })
		n.ensures(b)
		eventually(t, "the lease is renewed", func() bool { return lifetimes(n.host, "berth0")[lease] > 117 })
		both()
	}
	n.reached()
}
