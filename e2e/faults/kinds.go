package faults

import (
	"fmt"
	"slices"
	"strings"
)

// A Kind is a kind of fault.
type Kind string

// The kinds of faults.
const (
	Partition  Kind = "partition"  // a node from etcd, or from one of its members; both ways or one
	Split      Kind = "split"      // a member of etcd from the others
	KillAgent  Kind = "kill"       // kill -9 of an agent
	PauseAgent Kind = "pause"      // SIGSTOP of an agent
	KillEtcd   Kind = "etcd-kill"  // kill -9 of a member of etcd
	PauseEtcd  Kind = "etcd-pause" // SIGSTOP of a member of etcd
	Disk       Kind = "disk"       // a node's disk is full
	Clock      Kind = "clock"      // an agent starts again with a clock that has jumped
	Compact    Kind = "compact"
	Defragment Kind = "defragment"
	Leader     Kind = "leader" // etcd's leader hands over
	Revoke     Kind = "revoke" // a node's session is revoked by hand
	Restore    Kind = "restore"
	Reboot     Kind = "reboot"
)

// Kinds are all of them, with what each does.
var Kinds = []struct {
	Kind Kind
	Does string
}{
	{Partition, "cuts a node from etcd, or from one member of it; both ways or one"},
	{Split, "cuts a member of etcd from the others"},
	{KillAgent, "kills an agent and starts it again"},
	{PauseAgent, "stops an agent by SIGSTOP and lets it go on"},
	{KillEtcd, "kills a member of etcd and starts it again"},
	{PauseEtcd, "stops a member of etcd by SIGSTOP and lets it go on"},
	{Disk, "fills a node's disk and frees it"},
	{Clock, "kills an agent and starts it with a clock that has jumped"},
	{Compact, "compacts etcd's history"},
	{Defragment, "defragments etcd"},
	{Leader, "moves etcd's leader"},
	{Revoke, "revokes the lease of a node's session"},
	{Restore, "brings etcd back to a snapshot under a new cluster id"},
	{Reboot, "reboots a node: its agent, containers and run directory are gone"},
}

// Choose gives all kinds but those named, between commas.
func Choose(without string) (kinds []Kind, err error) {
	var all []Kind
	for _, k := range Kinds {
		all = append(all, k.Kind)
	}
	out := map[Kind]bool{}
	for name := range strings.SplitSeq(without, ",") {
		if name = strings.TrimSpace(name); name == "" {
			continue
		}
		if !slices.Contains(all, Kind(name)) {
			return nil, fmt.Errorf("faults: there is no kind %q: want some of %v", name, all)
		}
		out[Kind(name)] = true
	}
	return slices.DeleteFunc(all, func(k Kind) bool { return out[k] }), nil
}
