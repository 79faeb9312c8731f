package main

import (
	"slices"
	"strings"

	"github.com/berth-ipam/berth/internal/nearest"
	"github.com/berth-ipam/berth/internal/wire"
)

// knownArgs are the names in CNI_ARGS that Berth knows. Those of Kubernetes and Nomad that it makes no use of are there
// so that they are no error.
var knownArgs = []string{
	"BERTH_CLASS", "BERTH_NAMESPACE", "BERTH_APP", "BERTH_MEMBER", "IP", "MAC", "IgnoreUnknown",
	"K8S_POD_NAMESPACE", "K8S_POD_NAME", "K8S_POD_UID", "K8S_POD_INFRA_CONTAINER_ID",
	"NOMAD_REGION", "NOMAD_NAMESPACE", "NOMAD_JOB_ID", "NOMAD_GROUP_NAME", "NOMAD_ALLOC_ID",
}

// ownArgs begins those that are Berth's: an unknown one of them is a slip, and no other plugin's.
const ownArgs = "BERTH_"

// parseArgs reads CNI_ARGS (CNI conventions, "CNI_ARGS"): pairs NAME=VALUE between semicolons. An unknown name is an
// error unless IgnoreUnknown is true, which concerns what is meant for others.
func parseArgs(text string) (map[string]string, error) {
	values := map[string]string{}
	var unknown, slips []string
	for pair := range strings.SplitSeq(text, ";") {
		if pair == "" {
			continue
		}
		name, value, paired := strings.Cut(pair, "=")
		if !paired || name == "" {
			return nil, wire.Errorf(wire.CodeEnvironment, "CNI_ARGS: %q: want NAME=VALUE", pair)
		}
		if !slices.Contains(knownArgs, name) {
			unknown = append(unknown, name)
			if strings.HasPrefix(name, ownArgs) {
				slips = append(slips, name)
			}
		}
		values[name] = value
	}
	ignore, err := boolean(values["IgnoreUnknown"])
	if err != nil {
		return nil, err
	}
	if len(slips) > 0 {
		return nil, wire.Errorf(wire.CodeEnvironment, "CNI_ARGS: unknown %s: %s", strings.Join(slips, ", "),
			nearest.Hint(slips[0], knownArgs[:4]))
	}
	if len(unknown) > 0 && !ignore {
		return nil, wire.Errorf(wire.CodeEnvironment, "CNI_ARGS: unknown %s: want %s; or add IgnoreUnknown=1",
			strings.Join(unknown, ", "), strings.Join(knownArgs, ", "))
	}
	return values, nil
}

func boolean(value string) (bool, error) {
	switch strings.ToLower(value) {
	case "1", "true":
		return true, nil
	case "", "0", "false":
		return false, nil
	}
	return false, wire.Errorf(wire.CodeEnvironment, "CNI_ARGS: IgnoreUnknown=%s: want 1, true, 0 or false", value)
}
