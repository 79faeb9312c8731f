package e2e

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/nftables"
	clientv3 "go.etcd.io/etcd/client/v3"
	"golang.org/x/sync/errgroup"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
)

const bothFamilies = `pools:
  - name: default
    cidrs: [10.42.0.0/16, "fd42::/64"]
    stateful: [10.42.0.0/20, "fd42::/112"]
    gateways: [10.42.0.1, "fd42::1"]
    routes: [{to: 192.0.2.0/24}]
    dns: {nameservers: [10.42.0.1], search: [shop.example]}
`

// stateful are the keys by which a configuration asks for a member of shop/db.
func stateful(member string) map[string]any {
	return map[string]any{"cni": map[string]any{"berth": map[string]any{"class": "stateful", "namespace": "shop", "app": "db",
		"member": member}}}
}

func TestVERSIONTellsTheRevisionThatTheNodesContainersHave(t *testing.T) {
	l := newLab(t, 1, onePool)
	c := container(t, l.Nodes[0], l)
	ask := func() map[string]any {
		command := called(c, "VERSION", 0, nil)
		command.Env = append(command.Env, "BERTH_SOCKET="+l.Nodes[0].Socket())
		output, err := commandOutput(c, command)
		var answer map[string]any
		if err != nil || json.Unmarshal(output, &answer) != nil || answer["supportedVersions"] == nil {
			t.Fatalf("%s, error %v", output, err)
		}
		return answer
	}
	labtest.Eventually(t, "the revision is complete", func() error {
		told, _ := ask()["berth"].(map[string]any)
		if told["complete"] != true || told["revision"] != told["applied"] || told["revision"] == float64(0) {
			return fmt.Errorf("it tells %v", told)
		}
		return nil
	})
	if err := l.Nodes[0].Stop(); err != nil {
		t.Fatal(err)
	}
	if told, has := ask()["berth"]; has {
		t.Errorf("without the agent it tells %v: want nothing of that", told)
	}
}

func TestAFieldThatIsNotSupportedIsNamedWithItsValue(t *testing.T) {
	l := newLab(t, 1, onePool)
	c := container(t, l.Nodes[0], l)
	output, err := commandOutput(c, called(c, "ADD", 0, map[string]any{"ipam": map[string]any{"type": "host-local"}}))
	if err == nil {
		t.Fatalf("it succeeds with %s", output)
	}
	failure := cniError(t, string(output))
	if failure.Code != 2 {
		t.Errorf("code %d: want 2", failure.Code)
	}
	says(t, failure.Msg, "ipam.type", "host-local")
	if err := c.Del(t.Context()); err != nil {
		t.Errorf("DEL: %v", err)
	}
}

func TestGCEndsAnAttachmentAndNeverItsReservation(t *testing.T) {
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	c := member(t, l.Nodes[0], l, "db-0")
	had := add(t, c)
	if err := runs(c, called(c, "GC", 120, map[string]any{"cni.dev/valid-attachments": []any{}})); err != nil {
		t.Fatal(err)
	}
	holds(t, l.Nodes[0], 0)
	reservations, err := l.Etcd.Get(t.Context(), "/berth/v1/reservations/")
	if err != nil || len(reservations) != 1 {
		t.Errorf("reservations %v, error %v: want one", reservations, err)
	}
	again := member(t, l.Nodes[0], l, "db-0")
	if got := add(t, again); got != had {
		t.Errorf("the member has %v: want %v", got, had)
	}
	del(t, again)
	emptied(t, l, before)
}

func TestGCBesideRacingADDsSparesThem(t *testing.T) {
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	var containers []*lab.Container
	var group errgroup.Group
	group.SetLimit(4)
	for i := range 24 {
		c := container(t, l.Nodes[0], l)
		containers = append(containers, c)
		group.Go(func() error {
			if i%3 == 0 { // with a list that was made before any of them
				return runs(c, called(c, "GC", 0, map[string]any{"cni.dev/valid-attachments": []any{}}))
			}
			_, err := c.Add(t.Context())
			return err
		})
	}
	if err := group.Wait(); err != nil {
		t.Fatal(err)
	}
	for i, c := range containers {
		if i%3 != 0 {
			inPlace(t, c)
			del(t, c)
		}
	}
	restores(t, l, before)
}

func TestAReservationThatIsAnothersNowShowsInCHECKAndKeepsTheNodeInService(t *testing.T) {
	l := newLab(t, 1, onePool)
	c := member(t, l.Nodes[0], l, "db-0")
	add(t, c)
	inPlace(t, c)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{l.Etcd.Endpoint()}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	reservations, err := l.Etcd.Get(t.Context(), "/berth/v1/reservations/")
	if err != nil {
		t.Fatal(err)
	}
	for key, value := range reservations { // as another node would write it
		var record map[string]any
		if err := json.Unmarshal([]byte(value), &record); err != nil {
			t.Fatal(err)
		}
		record["epoch"] = record["epoch"].(float64) + 1
		text, _ := json.Marshal(record)
		other := strings.NewReplacer(`"`+c.ID+`"`, `"elsewhere"`, `"`+l.Nodes[0].Name+`"`, `"n9"`).Replace(string(text))
		if _, err := client.Put(t.Context(), key, other); err != nil {
			t.Fatal(err)
		}
	}
	labtest.Eventually(t, "CHECK fails", func() error {
		if c.Check(t.Context()) == nil {
			return fmt.Errorf("it succeeds")
		}
		return nil
	})
	refused(t, c.Check(t.Context()), anyCode, "isolated")
	if err := l.Nodes[0].CNIStatus(t.Context(), lab.Plain()); err != nil {
		t.Errorf("one isolated container takes the whole node out of service: STATUS says %v", err)
	}
	del(t, c)
}

func TestARequestedAddressIsGivenOrRefusedInWords(t *testing.T) {
	l := newLab(t, 2, bothFamilies)
	before := warm(t, l)
	foreign := container(t, l.Nodes[1], l)
	add(t, foreign)
	beside := foreign.Address.Next() // of the other node's block
	held := container(t, l.Nodes[0], l)
	add(t, held)
	settled := census(t, l)
	for name, test := range map[string]struct {
		ips   []string
		args  map[string]any
		words []string
	}{
		"held by another container":          {[]string{held.Address.String()}, nil, []string{held.ID}},
		"stateless inside a stateful range":  {[]string{"10.42.3.7"}, nil, []string{"10.42.3.7", "stateful"}},
		"stateful outside of them":           {[]string{"10.42.77.7"}, stateful("db-1"), []string{"10.42.77.7"}},
		"the gateway":                        {[]string{"10.42.0.1"}, stateful("db-1"), []string{"10.42.0.1"}},
		"a family whose address is not free": {[]string{"10.42.200.7", "fd42::1"}, nil, []string{"fd42::1"}},
		"of no pool":                         {[]string{"198.51.100.7"}, nil, []string{"198.51.100.7"}},
		"two of a family":                    {[]string{"10.42.200.7", "10.42.200.8"}, nil, []string{"10.42.200.7", "10.42.200.8"}},
	} {
		t.Run(name, func(t *testing.T) {
			c := container(t, l.Nodes[0], l)
			keys := map[string]any{"runtimeConfig": map[string]any{"ips": test.ips}}
			if test.args != nil {
				keys["args"] = test.args
			}
			output, err := commandOutput(c, called(c, "ADD", 0, keys))
			if err == nil {
				t.Fatalf("it succeeds with %s", output)
			}
			failure := cniError(t, string(output))
			says(t, failure.Msg+" "+failure.Details, test.words...)
		})
	}
	restores(t, l, settled)
	moved := container(t, l.Nodes[0], l)
	if output, err := commandOutput(moved,
		called(moved, "ADD", 0, map[string]any{"runtimeConfig": map[string]any{"ips": []string{beside.String()}}})); err != nil {
		t.Errorf("an address of another node's block that nobody has is refused: %s", output)
	}
	del(t, moved)
	del(t, foreign)
	del(t, held)
	restores(t, l, before)
}

func TestAMemberOfATwoFamilyPoolHasBothAddressesForGood(t *testing.T) {
	l := newLab(t, 2, bothFamilies)
	before := warm(t, l)
	c := member(t, l.Nodes[0], l, "db-0")
	first, err := c.Add(t.Context())
	if err != nil || len(first.IPs) != 2 {
		t.Fatalf("%v, error %v: want two addresses", first, err)
	}
	if len(first.DNS.Nameservers) != 1 || len(first.DNS.Search) != 1 {
		t.Errorf("the result has the DNS %+v: want the pool's", first.DNS)
	}
	if !strings.Contains(fmt.Sprint(first.Routes), "192.0.2.0") {
		t.Errorf("the result has the routes %v: want the pool's too", first.Routes)
	}
	del(t, c)
	moved := member(t, l.Nodes[1], l, "db-0")
	second, err := moved.Add(t.Context())
	if err != nil || fmt.Sprint(second.IPs[0].Address, second.IPs[1].Address) != fmt.Sprint(first.IPs[0].Address, first.IPs[1].Address) {
		t.Errorf("on the other node: %v, error %v: want %v", second, err, first.IPs)
	}
	other := container(t, l.Nodes[0], l)
	add(t, other)
	for _, ip := range first.IPs {
		addr, _ := netip.AddrFromSlice(ip.Address.IP)
		reaches(t, other, addr.Unmap())
	}
	del(t, moved)
	del(t, other)
	if _, err := l.Nodes[0].Berthctl(t.Context(), "release", "--network", "berth", "shop/db/db-0"); err != nil {
		t.Errorf("release: %v", err)
	}
	restores(t, l, before)
}

func TestAContainersInterfaceAcceptsNoRouterAdvertisements(t *testing.T) {
	l := newLab(t, 1, bothFamilies)
	c := container(t, l.Nodes[0], l)
	add(t, c)
	output, err := exec.Command("nsenter", "--net="+c.Netns, "cat",
		filepath.Join("/proc/sys/net/ipv6/conf", c.Interface, "accept_ra")).CombinedOutput()
	if err != nil || strings.TrimSpace(string(output)) != "0" {
		t.Errorf("accept_ra is %s, error %v: want 0", output, err)
	}
	del(t, c)
}

func TestAPortThatSomebodyCutsBehindTheAgentsBackPassesAgain(t *testing.T) {
	l := newLab(t, 1, onePool)
	c := container(t, l.Nodes[0], l)
	result, err := c.Add(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	inPlace(t, c)
	cut(t, l.Nodes[0], result.Interfaces[1].Name)
	labtest.Eventually(t, "CHECK finds all in place again", func() error { return c.Check(t.Context()) })
	if _, err := c.Ping(gateway.Addr()); err != nil {
		t.Error(err)
	}
	del(t, c)
}

// cut takes a port out of its class in the kernel's table, behind the agent's back.
func cut(t *testing.T, node *lab.Node, port string) {
	t.Helper()
	namespace, err := os.Open(node.Netns())
	if err != nil {
		t.Fatal(err)
	}
	defer namespace.Close()
	kernel, err := nftables.New(nftables.WithNetNSFd(int(namespace.Fd())))
	if err != nil {
		t.Fatal(err)
	}
	set, err := kernel.GetSetByName(&nftables.Table{Name: "berth", Family: nftables.TableFamilyBridge}, "stateless")
	if err != nil {
		t.Fatal(err)
	}
	name := make([]byte, 16) // IFNAMSIZ
	copy(name, port)
	if err := kernel.SetDeleteElements(set, []nftables.SetElement{{Key: name}}); err != nil {
		t.Fatal(err)
	}
	if err := kernel.Flush(); err != nil {
		t.Fatal(err)
	}
}
