package main

import (
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/types"

	"github.com/berth-ipam/berth/internal/ifname"
	"github.com/berth-ipam/berth/internal/wire"
)

const (
	name          = "berth" // as "type" or "ipam.type"
	defaultSocket = "/run/berth/berth.sock"
	defaultBridge = "berth0"
	maxSocket     = 107 // bytes of a unix socket's path, unix(7)
)

// settings are Berth's own keys. In the IPAM role they stand inside "ipam".
type settings struct {
	Pool   string `json:"pool"`
	Socket string `json:"socket"`
	Class  string `json:"class"`
	Bridge string `json:"bridge"` // role interface, as the rest
	Uplink string `json:"uplink"`
	IPMasq bool   `json:"ipMasq"`
}

// A config is a plugin's configuration as it comes on standard input. Keys that are not Berth's are tolerated.
type config struct {
	CNIVersion string          `json:"cniVersion"`
	Name       string          `json:"name"`
	Type       string          `json:"type"`
	IPAM       json.RawMessage `json:"ipam"`
	DNS        types.DNS       `json:"dns"`
	PrevResult json.RawMessage `json:"prevResult"`
	Valid      json.RawMessage `json:"cni.dev/valid-attachments"` // GC; absent and empty differ
	ValidOld   json.RawMessage `json:"cni.dev/attachments"`       // the same of runtimes that follow an older libcni
	settings   `json:"-"`
	ipamType   string
	role       string
}

// parseConfig reads a configuration as far as every verb needs it. What else ADD needs it reads itself, so that no
// mistake there keeps a DEL from being done.
func parseConfig(stdin []byte) (*config, error) {
	c := &config{}
	if err := decode("the network configuration", stdin, c); err != nil {
		return nil, err
	}
	var ipam types.IPAM
	if err := decode(`"ipam"`, c.IPAM, &ipam); err != nil {
		return nil, err
	}
	c.ipamType = ipam.Type
	switch {
	case own(c.Type):
		c.role = wire.Interface
	case own(ipam.Type):
		c.role = wire.IPAM
	default:
		return nil, wire.Errorf(wire.CodeConfig, `network %q: neither "type" (%q) nor "ipam.type" (%q) is %q`, c.Name, c.Type, ipam.Type, name)
	}
	return c, c.readSettings(stdin)
}

// readSettings reads Berth's own keys: in the IPAM role from "ipam" alone, since those beside it are the other
// plugin's and may mean anything.
func (c *config) readSettings(stdin []byte) error {
	if own(c.ipamType) {
		if err := decode(`"ipam"`, c.IPAM, &c.settings); err != nil {
			return err
		}
	}
	if c.role == wire.Interface {
		if err := decode("the network configuration", stdin, &c.settings); err != nil {
			return err
		}
		c.Bridge = cmp.Or(c.Bridge, defaultBridge)
	} else {
		c.Bridge, c.Uplink, c.IPMasq = "", "", false
	}
	c.Pool, c.Socket = cmp.Or(c.Pool, wire.DefaultPool), cmp.Or(c.Socket, defaultSocket)
	if !filepath.IsAbs(c.Socket) || len(c.Socket) > maxSocket {
		return wire.Errorf(wire.CodeConfig, "network %q: socket %q: want an absolute path of at most %d bytes", c.Name, c.Socket, maxSocket)
	}
	return nil
}

// validNames refuses names of interfaces that the kernel would not have, or would change.
func (c *config) validNames() error {
	for key, value := range map[string]string{"bridge": c.Bridge, "uplink": c.Uplink} {
		if value == "" {
			continue
		}
		if err := ifname.Validate(key, value); err != nil {
			return wire.Errorf(wire.CodeConfig, "network %q: %w", c.Name, err)
		}
	}
	return nil
}

// own reports whether a plugin's name is this one's, under which it may also have been installed.
func own(plugin string) bool {
	return plugin == name || plugin == filepath.Base(os.Args[0])
}

// validAttachments are those that GC has to spare; present reports whether the runtime gave a list at all.
func (c *config) validAttachments() (valid []wire.Attachment, present bool, err error) {
	text, key := c.Valid, "cni.dev/valid-attachments"
	if text == nil {
		text, key = c.ValidOld, "cni.dev/attachments"
	}
	var list []types.GCAttachment
	if err := decode(key, text, &list); err != nil {
		return nil, true, err
	}
	for _, a := range list {
		if a.ContainerID == "" || a.IfName == "" {
			return nil, true, wire.Errorf(wire.CodeConfig, "%s: an attachment with containerID %q and ifname %q: want both", key, a.ContainerID,
				a.IfName)
		}
		valid = append(valid, wire.Attachment{Container: a.ContainerID, Interface: a.IfName})
	}
	return valid, text != nil, nil
}

// absent reports whether a key was not there, or null.
func absent(text json.RawMessage) bool { return len(text) == 0 || string(text) == "null" }

// decode reads JSON; what is absent leaves into as it is.
func decode(what string, text []byte, into any) error {
	if len(text) == 0 {
		return nil
	}
	if err := json.Unmarshal(text, into); err != nil {
		return wire.Errorf(wire.CodeDecode, "decode %s: %w", what, err)
	}
	return nil
}
