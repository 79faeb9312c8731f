package agent

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/vishvananda/netlink"

	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/lease/record"
)

// asked is what the rig's agent answers.
func (r *rig) asked(repair ...string) record.NodeReport {
	r.t.Helper()
	answers, silent, err := r.store.Reports.Request(r.t.Context(), record.ReportRequest{Who: "test", Repair: repair}, 20*time.Second)
	check(r.t, err)
	if len(answers) != 1 || len(silent) > 0 {
		r.t.Fatalf("%d answers; silent are %q", len(answers), silent)
	}
	return answers[0]
}

func TestAnAgentAnswersWhatItHolds(t *testing.T) {
	r := newRig(t)
	addr, reserved := r.add(r.stateless("a", "web")), r.add(r.stateful("b", "db", "db-0"))
	check(t, os.MkdirAll(r.agent.Spool(), 0o700))
	check(t, os.WriteFile(filepath.Join(r.agent.Spool(), "1.del"), []byte("{"), 0o600))
	answer := r.asked()
	if len(answer.Attachments) != 2 || len(answer.Ports) != 2 || len(answer.Notes) != 1 {
		t.Fatalf("the answer is %+v", answer)
	}
	a, b := answer.Attachments[0], answer.Attachments[1]
	if a.Addresses[0] != addr || a.App.Name != "web" || !a.Answered || a.Isolated != "" || a.Class != "stateless" {
		t.Errorf("of the stateless one it says %+v", a)
	}
	if b.Addresses[0] != reserved || b.Epoch == 0 || b.Identity().Member != "db-0" {
		t.Errorf("of the stateful one it says %+v", b)
	}
	i := slices.IndexFunc(answer.Ports, func(p record.HeldPort) bool { return p.Name == a.Port })
	if i < 0 || answer.Ports[i] != (record.HeldPort{Name: a.Port, Class: "stateless"}) {
		t.Errorf("of the port %s it says %+v", a.Port, answer.Ports)
	}
	if s := answer.Spaces; len(s) != 1 || len(s[0].Parts) != 1 || !s[0].Parts[0].Contains(addr) || s[0].Held != 1 {
		t.Errorf("of the allocator it says %+v", answer.Spaces)
	}
	if answer.Generation != r.agent.Generation() {
		t.Errorf("the answer is of generation %d, the session of %d", answer.Generation, r.agent.Generation())
	}
}

// stray is a port that an attachment had of which nobody knows any more.
func (r *rig) stray() {
	r.t.Helper()
	stray := &netlink.Veth{PeerName: "stray",
		LinkAttrs: netlink.LinkAttrs{Name: "bthstray", Alias: `berth {"n":"net","c":"stray","i":"eth0","p":"default","a":["10.42.64.99"]}`}}
	check(r.t, netlink.LinkAdd(stray))
	check(r.t, netlink.LinkSetAlias(stray, stray.Alias))
	r.t.Cleanup(func() { _ = netlink.LinkDel(stray) })
}

func TestAnAgentThatIsAskedToRepairSettlesAnewAndRepairsItsKernel(t *testing.T) {
	r := newRig(t)
	c := r.stateless("a", "web")
	addr := r.add(c)
	r.until("it is published", func() bool { return r.assigned(addr) != nil })
	port := r.asked().Attachments[0].Port
	_, err := r.etcdctl().Delete(t.Context(), "/berth/v1/assignments/default/"+addr.String())
	check(t, err)
	_, err = r.etcdctl().Put(t.Context(), "/berth/v1/assignments/default/"+addr.Next().String(), `{"node":"n1"}`)
	check(t, err)
	r.stray()

	before := r.asked()
	if len(before.Ports) != 2 || before.Ports[0].Name == before.Ports[1].Name {
		t.Errorf("the damage is answered as %+v", before.Ports)
	}
	after := r.asked("n1")
	if after.Generation <= before.Generation {
		t.Errorf("it has not settled anew: generation %d, then %d", before.Generation, after.Generation)
	}
	if want := []record.HeldPort{{Name: port, Class: "stateless"}}; !slices.Equal(after.Ports, want) {
		t.Errorf("the ports are %+v, want %+v", after.Ports, want)
	}
	if a := r.assigned(addr); a == nil || a.Attachment.Container != "a" {
		t.Errorf("its assignment is %+v", a)
	}
	if a := r.assigned(addr.Next()); a != nil {
		t.Errorf("one that it does not have is assigned still: %+v", a)
	}
	check(t, sandbox.Remove(c.Netns))
	r.until("the container's end is seen", func() bool { return len(r.agent.Journal.Entries()) == 0 })
}
