package doctor

import (
	"fmt"
	"strings"

	"github.com/berth-ipam/berth/lease/record"
)

// compareKernels checks that each container has its port in its class, and that there are no others.
func (c *comparison) compareKernels() {
	for name, answer := range c.answers {
		ports, wanted := map[string]record.HeldPort{}, map[string]bool{}
		for _, p := range answer.Ports {
			ports[p.Name] = p
		}
		for i := range answer.Attachments {
			h := &answer.Attachments[i]
			wanted[h.Port] = true
			if p, there := ports[h.Port]; h.Port != "" && h.Answered && answer.More.Ports == 0 {
				c.comparePort(name, h, p, there && !p.Gone)
			}
		}
		if answer.More.Attachments == 0 {
			for _, p := range answer.Ports {
				if !wanted[p.Name] {
					c.orphanedPort(name, p)
				}
			}
		}
	}
}

func (c *comparison) comparePort(node string, h *record.HeldAttachment, p record.HeldPort, there bool) {
	f := Finding{Node: node, Container: h.Attachment.String(), mark: h.Since.String(), ask: []string{node}}
	want := string(h.Class)
	if h.Isolated != "" {
		want = ""
	}
	switch {
	case !there:
		f.Kind, f.Cause = PortMissing, fmt.Sprintf("its port %s is not there", h.Port)
	case p.Class == want:
		return
	case want == "":
		f.Kind, f.Cause = PortClass, fmt.Sprintf("it is isolated, and its port %s is in class %s: it passes", h.Port, p.Class)
	case p.Class == "":
		f.Kind, f.Cause = PortClass, fmt.Sprintf("its port %s is in no class: nothing passes", h.Port)
	default:
		f.Kind, f.Cause = PortClass, fmt.Sprintf("its port %s is in class %s, and should be in %s", h.Port, p.Class, want)
	}
	c.found(f)
}

func (c *comparison) orphanedPort(node string, p record.HeldPort) {
	f := Finding{Node: node, mark: p.Name}
	switch {
	case p.Gone:
		f.Kind, f.Cause, f.ask = ClassWithoutPort, fmt.Sprintf("port %s is in class %s, and there is no such link", p.Name,
			p.Class), []string{node}
	case strings.HasPrefix(p.Alias, "berth {"):
		f.Kind, f.Cause, f.ask = PortStray, fmt.Sprintf("port %s is no container's by the journal; its alias is %s", p.Name,
			p.Alias), []string{node}
	default:
		f.Kind, f.Cause = PortStray, fmt.Sprintf("port %s is no container's, and has no alias of Berth's", p.Name)
		f.takes = true
		f.Repair = fmt.Sprintf("on node %s, find out whose it is (ip -d link show %s: link-netns is the container's); where no container "+
			"uses it: ip link del %s", node, p.Name, p.Name)
	}
	c.found(f)
}
