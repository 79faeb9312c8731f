package netops

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// A DHCP client knows the NIC only, and its lease is renewed after five seconds: the host's address outlives its first lease.
func TestTheLeaseOfARealDHCPClientLivesOnOnTheBridge(t *testing.T) {
	for _, program := range []string{"dhclient", "dnsmasq"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("%s is not installed (packages isc-dhcp-client, dnsmasq-base)", program)
		}
	}
	plug := newSwitch(t)
	far := newSpace(t)
	plug(far, "eth0")
	far.Give("eth0", "192.0.2.254/24")
	k, host := newHost(t)
	plug(host, "nic0")
	dir, err := os.MkdirTemp("/run", "dhcp")
	must(t, err)
	start := func(s space, name string, args ...string) {
		t.Helper()
		var said bytes.Buffer
		command := exec.Command(name, args...)
		command.Stdout, command.Stderr = &said, &said
		s.Do(command.Start)
		t.Cleanup(func() {
			_ = command.Process.Kill()
			_ = command.Wait()
			if t.Failed() {
				t.Logf("%s said:\n%s", name, said.Bytes())
			}
		})
	}
	file := func(name string) string { return filepath.Join(dir, name) }
	// Option 58 is when the client renews, in seconds; 6 without a value keeps it from /etc/resolv.conf.
	start(far, "dnsmasq", "--no-daemon", "--port=0", "--conf-file=/dev/null", "--user=root", "--bind-interfaces", "--interface=eth0",
		"--dhcp-range=192.0.2.10,192.0.2.10,2m", "--dhcp-option=58,5", "--dhcp-option=59,100", "--dhcp-option=6", "--dhcp-option=3,192.0.2.254",
		"--dhcp-authoritative", "--no-ping", "--dhcp-leasefile="+file("server"), "--pid-file="+file("dnsmasq.pid"))
	must(t, os.WriteFile(file("dhclient.conf"), []byte("request subnet-mask, routers, dhcp-renewal-time, dhcp-rebinding-time;\n"), 0o600))
	start(host, "dhclient", "-4", "-d", "-v", "-cf", file("dhclient.conf"), "-lf", file("client"), "-pf", file("dhclient.pid"), "nic0")
	const lease = "192.0.2.10/24"
	eventually(t, "the client has a lease", func() bool { return lifetimes(host, "nic0")[lease] > 0 })

	b := Bridge{Name: "berth0", Uplink: "nic0"}
	_, err = k.EnsureBridge(b)
	must(t, err)
	if left, has := lifetimes(host, "nic0"), lifetimes(host, "berth0"); len(left) != 0 || has[lease] == 0 {
		t.Fatalf("the NIC has %v, the bridge %v", left, has)
	}
	for range 2 {
		eventually(t, "the client renews on the NIC", func() bool { return lifetimes(host, "nic0")[lease] > 0 })
		_, err = k.EnsureBridge(b)
		must(t, err)
		if left, has := lifetimes(host, "nic0"), lifetimes(host, "berth0"); len(left) != 0 || has[lease] < 110 {
			t.Errorf("after a renewal the NIC has %v, the bridge %v: want the whole lease there", left, has)
		}
	}
	if !hears(t, far, host, netip.MustParseAddr("192.0.2.10"), patience) {
		t.Error("the host is not reached by its lease")
	}
}
