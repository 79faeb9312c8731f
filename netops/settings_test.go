package netops

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-ipam/berth/netops/sysctl"
)

// forwardings are what turning forwarding on changes of a host.
func forwardings(t *testing.T, host space) (all []string) {
	t.Helper()
	host.Do(func() error {
		for _, at := range [][]string{
			{sysctl.V4, "all", "forwarding"}, {sysctl.V4, "default", "forwarding"}, {sysctl.V4, "eth0", "forwarding"},
			{sysctl.V4, "eth1", "forwarding"}, {sysctl.V4, "all", "accept_redirects"}, {sysctl.V6, "all", "forwarding"},
			{sysctl.V6, "default", "forwarding"}, {sysctl.V6, "eth0", "forwarding"}, {sysctl.V6, "eth1", "forwarding"},
			{sysctl.V6, "eth0", "accept_ra"}, {sysctl.V6, "eth1", "accept_ra"},
		} {
			value, err := sysctl.Read(at...)
			must(t, err)
			all = append(all, filepath.Join(at...)+"="+value)
		}
		return nil
	})
	return all
}

// forwarding has a host with two NICs forward for a routed pool; what it was before is remembered in a file.
func forwarding(t *testing.T, prepare func()) (host space, memory string, before []string) {
	t.Helper()
	k, host := newHost(t)
	cable(t, host, "eth0", newSpace(t), "far0")
	cable(t, host, "eth1", newSpace(t), "far1")
	host.Do(func() error { prepare(); return nil })
	before = forwardings(t, host)
	memory = filepath.Join(t.TempDir(), "settings")
	k.Remember(memoryIn(memory))
	_, err := k.SetRouting(Routing{Pools: prefixes("10.43.0.0/16", "fd43::/64"), Hops: map[netip.Prefix]Hop{}})
	must(t, err)
	if after := strings.Join(forwardings(t, host), "\n"); !strings.Contains(after, "ipv4/conf/eth0/forwarding=1") ||
		!strings.Contains(after, "ipv6/conf/eth0/accept_ra=2") {
		t.Fatalf("the host does not forward: %s", after)
	}
	return host, memory, before
}

func memoryIn(path string) *Memory {
	return &Memory{
		Read:  func() ([]byte, error) { return os.ReadFile(path) },
		Write: func(text []byte) error { return os.WriteFile(path, text, 0o600) },
	}
}

// putBack removes what is left of settings, and counts it.
func putBack(t *testing.T, host space, memory string) (count int) {
	t.Helper()
	host.Do(func() error {
		all, err := Remnants(memory)
		must(t, err)
		for _, r := range all {
			if r.Kind == RemnantSetting {
				count++
				must(t, r.Remove())
			}
		}
		return nil
	})
	return count
}

func set(t *testing.T, value string, parts ...string) {
	t.Helper()
	must(t, sysctl.Set(value, parts...))
}

func TestSettingsOfTheHostGetBackWhatTheyWere(t *testing.T) {
	for name, prepare := range map[string]func(){
		"as a kernel begins": func() {},
		"one link forwards already": func() {
			set(t, "1", sysctl.V4, "eth1", "forwarding")
			set(t, "1", sysctl.V6, "eth1", "forwarding")
		},
		"no redirects are taken": func() { set(t, "0", sysctl.V4, "all", "accept_redirects") },
		"one link takes no advertisements": func() {
			set(t, "0", sysctl.V6, "eth1", "accept_ra")
		},
	} {
		t.Run(name, func(t *testing.T) {
			host, memory, before := forwarding(t, prepare)
			if putBack(t, host, memory) == 0 {
				t.Error("no setting is left over")
			}
			if after := forwardings(t, host); strings.Join(before, "\n") != strings.Join(after, "\n") {
				t.Errorf("before:\n%s\nafter:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
			}
			if putBack(t, host, memory) != 0 {
				t.Error("there is something left over still")
			}
		})
	}
}

func TestASettingThatSomebodyHasChangedSinceStaysAsItIs(t *testing.T) {
	host, memory, _ := forwarding(t, func() {})
	host.Do(func() error { return sysctl.Set("0", sysctl.V6, "eth0", "accept_ra") })
	host.Do(func() error { return sysctl.Set("0", sysctl.V4, "all", "forwarding") })
	host.Do(func() error { return sysctl.Set("1", sysctl.V4, "eth0", "forwarding") })
	putBack(t, host, memory)
	after := strings.Join(forwardings(t, host), "\n")
	for _, want := range []string{
		"ipv6/conf/eth0/accept_ra=0", "ipv4/conf/all/forwarding=0", "ipv4/conf/eth0/forwarding=1", "ipv6/conf/eth1/accept_ra=1",
	} {
		if !strings.Contains(after, want) {
			t.Errorf("it is %s, want %s", after, want)
		}
	}
}

func TestAMemoryThatCannotBeReadOrWrittenChangesNothing(t *testing.T) {
	k, host := newHost(t)
	memory := filepath.Join(t.TempDir(), "settings")
	must(t, os.WriteFile(memory, []byte("{"), 0o600))
	k.Remember(memoryIn(memory))
	_, err := k.SetRouting(Routing{Pools: prefixes("10.43.0.0/16"), Hops: map[netip.Prefix]Hop{}})
	if err == nil || !strings.Contains(err.Error(), "cannot be kept") || !strings.Contains(err.Error(), "take it away") {
		t.Errorf("it says %v", err)
	}
	host.Do(func() error {
		if is, err := sysctl.Read(sysctl.V4, "all", "forwarding"); err != nil || is != "0" {
			t.Errorf("forwarding is %s, %v", is, err)
		}
		if _, err := Remnants(memory); err == nil {
			t.Error("a damaged memory is read as if there was none")
		}
		return nil
	})
}

func TestAMemoryNamesNothingButSettingsOfTheNetwork(t *testing.T) {
	path := filepath.Join(t.TempDir(), "value")
	must(t, os.WriteFile(path, []byte("1"), 0o600))
	for _, p := range []string{path, "/proc/sys/net/../../" + path} {
		if all := sysctl.Standing([]sysctl.Changed{{Path: p, Before: "0", Made: "1"}}); len(all) > 0 {
			t.Errorf("%+v are to be put back", all)
		}
	}
}
