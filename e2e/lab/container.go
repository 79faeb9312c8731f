package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"github.com/containernetworking/cni/pkg/types"
	types100 "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/berth-ipam/berth/internal/dump"
	"github.com/berth-ipam/berth/internal/sandbox"
)

// A Container is a network namespace on a node, and what a runtime would know of it.
type Container struct {
	Node      *Node
	ID        string
	Netns     string
	Interface string
	Args      [][2]string // CNI_ARGS
	Network   *Network
	Address   netip.Addr   // the first of the last ADD
	All       []netip.Addr // every one of the last ADD
}

// A Network is a CNI configuration list, by JSON values. The plugin's socket is added for each node where the value
// is absent.
type Network struct {
	Name    string
	Version string // of the CNI specification
	Plugins []map[string]any
	Path    []string // directories of further plugins
}

// Berth is the network of the interface role, with the node's NIC as the bridge's uplink.
func Berth() *Network {
	return &Network{Name: "berth", Version: "1.1.0", Plugins: []map[string]any{{"type": "berth", "uplink": NIC}}}
}

// Plain is a network of Berth whose nodes keep their NICs to themselves.
func Plain() *Network {
	return &Network{Name: "berth", Version: "1.1.0", Plugins: []map[string]any{{"type": "berth"}}}
}

// Container makes a container that has no interface yet. Args are names and values of CNI_ARGS.
func (n *Node) Container(id string, network *Network, args ...string) (*Container, error) {
	c := &Container{Node: n, ID: id, Netns: filepath.Join(namespaces, id), Interface: "eth0", Network: network}
	for i := 0; i+1 < len(args); i += 2 {
		c.Args = append(c.Args, [2]string{args[i], args[i+1]})
	}
	n.keep(c.Netns)
	return c, sandbox.Namespace(c.Netns)
}

// NextID gives a container ID that the lab has not used before.
func (l *Lab) NextID() string { return fmt.Sprintf("c%04d", l.containers.Add(1)) }

// Add attaches the container through libcni and the real plugin.
func (c *Container) Add(ctx context.Context) (*types100.Result, error) {
	list, err := c.Network.on(c.Node)
	if err != nil {
		return nil, err
	}
	answer, err := c.Node.cni(c.Network).AddNetworkList(ctx, list, c.runtime())
	if err != nil {
		return nil, err
	}
	result, err := types100.NewResultFromResult(answer)
	if err != nil {
		return nil, err
	}
	if len(result.IPs) == 0 {
		return result, fmt.Errorf("lab: ADD of %s answered no address", c.ID)
	}
	c.All = nil
	for _, ip := range result.IPs {
		address, _ := netip.AddrFromSlice(ip.Address.IP)
		c.All = append(c.All, address.Unmap())
	}
	c.Address = c.All[0]
	return result, nil
}

// Check runs CHECK.
func (c *Container) Check(ctx context.Context) error {
	list, err := c.Network.on(c.Node)
	if err != nil {
		return err
	}
	return c.Node.cni(c.Network).CheckNetworkList(ctx, list, c.runtime())
}

// Del runs DEL; the namespace stays.
func (c *Container) Del(ctx context.Context) error {
	list, err := c.Network.on(c.Node)
	if err != nil {
		return err
	}
	if err := c.Node.cni(c.Network).DelNetworkList(ctx, list, c.runtime()); err != nil {
		return err
	}
	c.Address, c.All = netip.Addr{}, nil
	return nil
}

// Remove lets the container's namespace go, whatever is in it.
func (c *Container) Remove() error {
	c.Node.forget(c.Netns)
	return sandbox.Remove(c.Netns)
}

// Delete runs DEL and removes the namespace, as a runtime does with a container that has ended.
func (c *Container) Delete(ctx context.Context) error {
	if err := c.Del(ctx); err != nil {
		return err
	}
	return c.Remove()
}

// GC runs the CNI verb of this name for a network: whatever is not among the containers is to go.
func (n *Node) GC(ctx context.Context, network *Network, valid ...*Container) error {
	list, err := network.on(n)
	if err != nil {
		return err
	}
	args := &libcni.GCArgs{}
	for _, c := range valid {
		args.ValidAttachments = append(args.ValidAttachments, types.GCAttachment{ContainerID: c.ID, IfName: c.Interface})
	}
	return n.cni(network).GCNetworkList(ctx, list, args)
}

// CNIStatus runs the CNI verb STATUS for a network.
func (n *Node) CNIStatus(ctx context.Context, network *Network) error {
	list, err := network.on(n)
	if err != nil {
		return err
	}
	return n.cni(network).GetStatusNetworkList(ctx, list)
}

// Exec runs a plugin in the node without libcni: its standard input and environment are what is given.
func (n *Node) Exec(ctx context.Context, plugin, config string, environment ...string) (string, error) {
	command := exec.CommandContext(ctx, n.binary(plugin))
	command.Stdin = strings.NewReader(config)
	command.Env = append(environment, "CNI_PATH="+n.lab.options.Binaries)
	return run(n.netns, command)
}

func (c *Container) runtime() *libcni.RuntimeConf {
	return &libcni.RuntimeConf{ContainerID: c.ID, NetNS: c.Netns, IfName: c.Interface, Args: c.Args}
}

// on is the network's configuration list for one node.
func (w *Network) on(n *Node) (*libcni.NetworkConfigList, error) {
	text, err := w.JSON(n)
	if err != nil {
		return nil, err
	}
	return libcni.NetworkConfFromBytes(text)
}

// JSON is the configuration list for one node, as it would lie in a file.
func (w *Network) JSON(n *Node) ([]byte, error) {
	var plugins []map[string]any
	for _, plugin := range w.Plugins {
		plugin = maps.Clone(plugin)
		if ipam, ok := plugin["ipam"].(map[string]any); ok {
			ipam = maps.Clone(ipam)
			setDefault(ipam, "socket", n.Socket())
			plugin["ipam"] = ipam
		} else if plugin["type"] == "berth" {
			setDefault(plugin, "socket", n.Socket())
		}
		plugins = append(plugins, plugin)
	}
	return json.Marshal(map[string]any{"cniVersion": w.Version, "name": w.Name, "plugins": plugins})
}

func setDefault(values map[string]any, key string, value any) {
	if _, present := values[key]; !present {
		values[key] = value
	}
}

func (n *Node) cni(network *Network) *libcni.CNIConfig {
	path := append([]string{n.lab.options.Binaries}, network.Path...)
	return libcni.NewCNIConfigWithCacheDir(path, filepath.Join(root, n.Name+".cni"),
		executor{&invoke.DefaultExec{RawExec: &invoke.RawExec{}}, n})
}

// executor runs plugins in a node, while that has power.
type executor struct {
	*invoke.DefaultExec
	node *Node
}

func (e executor) ExecPlugin(ctx context.Context, path string, config []byte, environment []string) (output []byte, err error) {
	ctx, leave, err := e.node.life.join(ctx)
	if err != nil {
		return nil, err
	}
	defer leave()
	err = within(e.node.netns, func() (err error) {
		if err := setBootClockOff(e.node.ClockOffset); err != nil {
			return err
		}
		output, err = e.DefaultExec.ExecPlugin(ctx, path, config, environment)
		return err
	})
	return output, err
}

// Addresses lists those of the container's interface, but for link-local ones; without the interface there are none.
func (c *Container) Addresses() ([]netip.Prefix, error) {
	namespace, err := netns.GetFromPath(c.Netns)
	if err != nil {
		return nil, err
	}
	defer namespace.Close()
	handle, err := netlink.NewHandleAt(namespace, unix.NETLINK_ROUTE)
	if err != nil {
		return nil, err
	}
	defer handle.Close()
	link, err := handle.LinkByName(c.Interface)
	if _, absent := errors.AsType[netlink.LinkNotFoundError](err); absent {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	list, err := dump.Whole(func() ([]netlink.Addr, error) { return handle.AddrList(link, netlink.FAMILY_ALL) })
	if err != nil {
		return nil, err
	}
	var found []netip.Prefix
	for _, each := range list {
		address, _ := netip.AddrFromSlice(each.IP)
		bits, _ := each.Mask.Size()
		if prefix := netip.PrefixFrom(address.Unmap(), bits); !prefix.Addr().IsLinkLocalUnicast() {
			found = append(found, prefix)
		}
	}
	return found, nil
}
