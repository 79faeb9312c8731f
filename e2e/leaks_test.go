package e2e

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/google/nftables"
	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/internal/sandbox"
)

// The ways in which others' addresses leak, and the test that leaks in that way and sees the address come back:
//
//	a DEL while the agent is down (whereabouts#546)        TestADELThatMeetsNoAgentSucceedsAndIsDoneByTheNextOne
//	a pod that goes while the agent is down                TestTheAddressOfANamespaceGoneWhileTheAgentWasAwayComesBack
//	a DEL whose failure is hidden (whereabouts PR #119)    cmd/berth: TestAnAgentThatCannotBeAskedIsAnIOFailure
//	a handle without its address, and the reverse          TestWhatOnlyEtcdSaysIsThereComesBackWithTheNextSettling
//	 (Calico#8548)
//	a restart of who allocates (Kube-OVN#5688, #6943)      TestAnAgentKilledInTheMiddleOfADDsThatNobodyDELsLeaksNothing
//	a node's reboot (plugins#252, whereabouts' README)     TestTheAddressesOfARebootedNodeComeBackInTheIPAMRole,
//	                                                       TestARebootedNodesAddressesAreBackAndItsMembersGetTheirs
//	rules of ipMasq, where the namespace is empty          TestNoRuleOfMasqueradingIsLeftByContainersWithoutANamespace
//	 (plugins#810)
//	no DEL after a crash in the middle of ADD              TestAPluginKilledAtAnyMomentLeavesNothingAfterItsDEL
//	 (containerd#5438)
//	no DEL at all (containerd#5768, #12130)                TestTheAddressOfANamespaceGoneWithoutDELComesBack,
//	                                                       TestTheAddressOfAnInterfaceDeletedInItsContainerComesBack
//	a DEL that is cancelled, or not answered               TestADELThatAStuckAgentDoesNotAnswerIsDone
//	 (containerd#12922, cilium PR #9913)
//	a DEL, or its lack, while the datastore is away        TestAMemberDeletedWhileEtcdIsAwayMovesOnceItIsBack,
//	 (containerd#13326)                                    TestAMemberGoneWithoutDELWhileEtcdIsAwayCanStartElsewhere
//	GC of one runtime for another's (cni#1086)             TestTwoNetworksOfTwoRuntimesOnOneNodeKeepApart
//	GC without a list taken for an empty list (cni#1101)   e2e/conformance: the rows of GC
//	a node that is gone for good (weave#1875, #3310)       agent: take_test.go; here only under faults, since it takes as
//	                                                       long as the node's right and a tenth

// comesBack waits until the lab holds what it held before, and says how long that took.
func comesBack(t *testing.T, l *lab.Lab, before lab.Census) {
	t.Helper()
	began := time.Now()
	restores(t, l, before)
	t.Logf("all is back after %v", time.Since(began).Round(time.Millisecond))
}

func TestAnAgentKilledInTheMiddleOfADDsThatNobodyDELsLeaksNothing(t *testing.T) {
	l := newLab(t, 1, onePool)
	node := l.Nodes[0]
	before := warm(t, l)
	hit := 0
	for round := range 8 { // some ADDs are at each step when the agent goes
		var all []*lab.Container
		var adding []*exec.Cmd
		for range 6 {
			c := container(t, node, l)
			all, adding = append(all, c), append(adding, called(c, "ADD", 0, nil))
		}
		for i, c := range all {
			starts(t, c, adding[i])
		}
		<-time.After(time.Duration(round) * 1500 * time.Microsecond)
		if err := node.Kill(); err != nil {
			t.Fatal(err)
		}
		for i, c := range all { // the runtime is gone with the agent, and so are the containers
			at, err := killed(adding[i])
			if err = errors.Join(err, c.Remove()); err != nil {
				t.Fatal(err)
			}
			if at {
				hit++
			}
		}
		if err := node.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("%d of 48 ADDs were under way", hit)
	if hit == 0 {
		t.Error("every ADD was over before its agent was killed")
	}
	comesBack(t, l, before)
}

func TestADELThatAStuckAgentDoesNotAnswerIsDone(t *testing.T) {
	l := newLab(t, 1, onePool)
	node := l.Nodes[0]
	before := warm(t, l)
	patient, cancelled, gone := container(t, node, l), container(t, node, l), container(t, node, l)
	for _, c := range []*lab.Container{patient, cancelled, gone} {
		add(t, c)
	}
	if err := node.Pause(); err != nil {
		t.Fatal(err)
	}
	waits, gives := called(patient, "DEL", 0, nil), called(cancelled, "DEL", 0, nil)
	starts(t, patient, waits)
	starts(t, cancelled, gives)
	<-time.After(500 * time.Millisecond) // as long as the runtime has patience
	if at, err := killed(gives); err != nil || !at {
		t.Errorf("the DEL was over before it was cancelled (error %v)", err)
	}
	for _, c := range []*lab.Container{cancelled, gone} { // for which nobody calls DEL any more
		if err := c.Remove(); err != nil {
			t.Fatal(err)
		}
	}
	if err := waits.Wait(); err != nil {
		t.Errorf("the DEL that nobody answered: %v: want a success, by a note", err)
	}
	if err := node.Resume(); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	holds(t, node, 0)
	t.Logf("all three are back %v after the agent", time.Since(began).Round(time.Millisecond))
	if err := restart(t, node.Stop, node.Start); err != nil { // it takes the note in, else it would within a minute
		t.Fatal(err)
	}
	comesBack(t, l, before)
}

func TestTheAddressOfAnInterfaceDeletedInItsContainerComesBack(t *testing.T) {
	l := newLab(t, 1, onePool)
	before := warm(t, l)
	plain, stateful := container(t, l.Nodes[0], l), member(t, l.Nodes[0], l, "db-0")
	for _, c := range []*lab.Container{plain, stateful} {
		add(t, c)
		err := sandbox.Within(c.Netns, func() error {
			link, err := netlink.LinkByName(c.Interface)
			if err != nil {
				return err
			}
			return netlink.LinkDel(link)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	began := time.Now()
	holds(t, l.Nodes[0], 0)
	t.Logf("both are back after %v", time.Since(began).Round(time.Millisecond))
	emptied(t, l, before)
}

func TestTheAddressesOfARebootedNodeComeBackInTheIPAMRole(t *testing.T) {
	if noPlugins != nil {
		t.Skip("the CNI project's plugins cannot be built here: ", noPlugins)
	}
	l := makeLab(t, lab.Options{Alone: true}, onePool)
	node := l.Nodes[0]
	var former []*lab.Container
	for range 3 {
		c := alone(t, l, ipam())
		add(t, c)
		former = append(former, c)
	}
	if err := node.Reboot(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, c := range former {
		t.Logf("%v is back %v after the agent", c.Address, backAfter(t, l, c).Round(time.Millisecond))
	}
	holds(t, node, 0)
}

func TestNoRuleOfMasqueradingIsLeftByContainersWithoutANamespace(t *testing.T) {
	l := makeLab(t, lab.Options{Alone: true}, onePool)
	node, network := l.Nodes[0], lab.Plain()
	network.Plugins[0]["ipMasq"] = true
	first := alone(t, l, network)
	add(t, first)
	del(t, first)
	before := census(t, l)
	rules := rulesOf(t, node)
	if rules == 0 {
		t.Fatal("nothing is masqueraded")
	}
	for i := range 6 {
		c := alone(t, l, network)
		add(t, c)
		if err := c.Remove(); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 { // else nobody calls DEL
			c.Netns = ""
			if err := c.Del(t.Context()); err != nil {
				t.Errorf("DEL without a namespace: %v", err)
			}
		}
	}
	comesBack(t, l, before)
	if left := rulesOf(t, node); left != rules {
		t.Errorf("%d rules are in the kernel: want %d, as before", left, rules)
	}
}

// rulesOf counts all rules of packet filtering in the node.
func rulesOf(t *testing.T, node *lab.Node) (count int) {
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
	chains, err := kernel.ListChains()
	if err != nil {
		t.Fatal(err)
	}
	for _, chain := range chains {
		rules, err := kernel.GetRules(chain.Table, chain)
		if err != nil {
			t.Fatal(err)
		}
		count += len(rules)
	}
	return count
}
