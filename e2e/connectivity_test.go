package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/lab/labtest"
	"github.com/berth-ipam/berth/lease/check"
)

// seeConnectivity runs a check on a node. An exit code that is not 0 is its error.
func seeConnectivity(t *testing.T, node *lab.Node, args ...string) (*check.Report, error) {
	t.Helper()
	out, err := node.Berthctl(t.Context(), append([]string{"connectivity", "--timeout", "2m", "-o", "json"}, args...)...)
	if failed, ok := errors.AsType[*lab.ExitError](err); err != nil && (!ok || failed.Code != 1) {
		t.Fatal(err)
	}
	var r check.Report
	if !strings.HasPrefix(out, "{") {
		t.Fatalf("%q, %v", out, err)
	}
	if err := json.NewDecoder(strings.NewReader(out)).Decode(&r); err != nil {
		t.Fatalf("%q: %v", out, err)
	}
	return &r, err
}

// cells are a matrix's, by pool, family and both nodes.
func cells(r *check.Report) map[string]string {
	all := map[string]string{}
	for _, m := range r.Matrices {
		for _, row := range m.Rows {
			for _, cell := range row.Cells {
				all[strings.Join([]string{m.Pool, m.Family, row.Node, cell.Node}, " ")] = cell.State
			}
		}
	}
	return all
}

func TestConnectivitySaysThatContainersOfAllNodesReachEachOther(t *testing.T) {
	l := routedLab(t, 3, routedPool)
	before := census(t, l)
	r, err := seeConnectivity(t, l.Nodes[0], "--all")
	if err != nil || len(r.Failures) > 0 || r.Ways != 18 {
		t.Errorf("%v: of %d ways fail %+v", err, r.Ways, r.Failures)
	}
	for way, state := range cells(r) {
		if state != "ok" {
			t.Errorf("%s: %s", way, state)
		}
	}
	restores(t, l, before)
}

// lower has a node's NIC carry no more than an MTU, as a narrower network would.
func lower(t *testing.T, node *lab.Node, mtu int) {
	t.Helper()
	err := node.Within(func() error {
		nic, err := netlink.LinkByName(lab.NIC)
		if err != nil {
			return err
		}
		return netlink.LinkSetMTU(nic, mtu)
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestConnectivityNamesTheNodesBetweenWhichLessPassesThanTheContainersSend(t *testing.T) {
	l := routedLab(t, 3, routedPool+"    mtu: 1500\n") // else they have what fits between the nodes
	lower(t, l.Nodes[2], 1400)
	r, err := seeConnectivity(t, l.Nodes[0], "--from", "n1,n3")
	if err == nil || len(r.Failures) == 0 {
		t.Fatalf("%v: nothing fails", err)
	}
	all := cells(r)
	for way, want := range map[string]string{
		"default v4 n1 n2": "ok", "default v6 n1 n2": "ok", "default v4 n3 n1": "mtu", "default v6 n3 n2": "mtu",
	} {
		if all[way] != want {
			t.Errorf("%s: %s, want %s", way, all[way], want)
		}
	}
	text := failures(r, "n3", "n1")
	says(t, text, "between the nodes", l.Nodes[0].Address.String(), l.Nodes[0].V6.String(), "1400 bytes at most", "MTU of 1500", "mtu of 1400")
}

// failures are what a report says of the way between two nodes.
func failures(r *check.Report, from, to string) string {
	var all []string
	for _, f := range r.Failures {
		if f.From == from && f.To == to {
			all = append(all, f.Where+"\n"+f.Advice)
		}
	}
	return strings.Join(all, "\n")
}

func TestConnectivityNamesTheNodeBehindWhichContainersAreNotReached(t *testing.T) {
	l := routedLab(t, 3, routedPool)
	c := behind(t, l.Nodes[2], l)
	add(t, c)
	forwardNothing(t, l.Nodes[2], nftables.TableFamilyINet)
	r, err := seeConnectivity(t, l.Nodes[0])
	if err == nil {
		t.Fatal("nothing fails")
	}
	if all := cells(r); all["default v4 n1 n2"] != "ok" || all["default v4 n1 n3"] != "lost" || all["default v6 n1 n3"] != "lost" {
		t.Errorf("%v", all)
	}
	says(t, failures(r, "n1", "n3"), "node n3 ("+l.Nodes[2].Address.String()+") answers n1's host",
		"node n3 ("+l.Nodes[2].V6.String()+") answers n1's host", "pool default")
}

// forwardNothing has a node's firewall drop what it is to forward, as Docker does for what is not its own.
func forwardNothing(t *testing.T, node *lab.Node, family nftables.TableFamily) {
	t.Helper()
	namespace, err := os.Open(node.Netns())
	if err != nil {
		t.Fatal(err)
	}
	defer namespace.Close()
	connection, err := nftables.New(nftables.WithNetNSFd(int(namespace.Fd())))
	if err != nil {
		t.Fatal(err)
	}
	drop := nftables.ChainPolicyDrop
	table := connection.AddTable(&nftables.Table{Name: "firewall", Family: family})
	connection.AddChain(&nftables.Chain{Name: "forward", Table: table, Type: nftables.ChainTypeFilter,
		Hooknum: nftables.ChainHookForward, Priority: nftables.ChainPriorityFilter, Policy: &drop})
	if err := connection.Flush(); err != nil {
		t.Fatal(err)
	}
}

// An agent that ends in the middle of a check leaves nothing, and the next one takes part in the next check.
func TestNothingIsLeftOfACheckWhoseAgentIsKilled(t *testing.T) {
	l := routedLab(t, 2, routedPool)
	before := census(t, l)
	done := make(chan error, 1)
	go func() {
		_, err := l.Nodes[0].Berthctl(t.Context(), "connectivity", "--all", "--timeout", "30s")
		done <- err
	}()
	labtest.Eventually(t, "n2 has made its container", func() error {
		keys, err := l.Etcd.Get(t.Context(), "/berth/v1/checks/connectivity/n2")
		if err == nil && len(keys) == 0 {
			err = errors.New("it has not answered")
		}
		return err
	})
	if err := l.Nodes[1].Kill(); err != nil {
		t.Fatal(err)
	}
	t.Log(<-done)
	if err := l.Nodes[1].Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	restores(t, l, before)
	r, err := seeConnectivity(t, l.Nodes[0], "--all")
	if err != nil {
		t.Errorf("%v: %+v", err, r.Failures)
	}
	restores(t, l, before)
}

func TestConnectivityOfAFlatPoolGoesByItsUplinks(t *testing.T) {
	l := newLab(t, 3, onePool)
	r, err := seeConnectivity(t, l.Nodes[0], "--all")
	if err == nil || len(r.Failures) != 3 {
		t.Errorf("%v: %+v: want that no node knows its bridge", err, r.Failures)
	}
	for _, node := range l.Nodes[:2] {
		add(t, container(t, node, l))
	}
	former := container(t, l.Nodes[2], l) // its bridge stays
	add(t, former)
	del(t, former)
	before := census(t, l)
	r, err = seeConnectivity(t, l.Nodes[0], "--all", "--uplink", lab.NIC)
	if err != nil || r.Ways != 9 {
		t.Errorf("%v: of %d ways fail %+v", err, r.Ways, r.Failures)
	}
	restores(t, l, before)
	forwardNothing(t, l.Nodes[2], nftables.TableFamilyBridge)
	r, err = seeConnectivity(t, l.Nodes[0], "--uplink", lab.NIC)
	if all := cells(r); err == nil || all["default v4 n1 n2"] != "ok" || all["default v4 n1 n3"] != "lost" {
		t.Errorf("%v: %v", err, all)
	}
	says(t, failures(r, "n1", "n3"), "node n3 ("+l.Nodes[2].Address.String()+") answers n1's host", "uplinks eth0 of n1 and eth0 of n3")
}

func TestContainersOfAFlatPoolWithoutAnUplinkAreSaidToBeApartByDesign(t *testing.T) {
	l := newLab(t, 2, onePool)
	for _, node := range l.Nodes {
		add(t, behind(t, node, l))
	}
	out, err := l.Nodes[0].Berthctl(t.Context(), "connectivity", "--all")
	if err != nil {
		t.Error(err)
	}
	says(t, out, "by design", "not connected by design: mode flat without an uplink")
}
