package main

import (
	"strings"

	"github.com/berth-ipam/berth/internal/wire"
)

// workload is whom the runtime says that it makes the container for: a pod of Kubernetes (containerd, CRI-O), an
// allocation of Nomad, or a container of Podman, which gives its name as that of a pod without a namespace. It is for
// people alone: it makes no app and no class.
func workload(env map[string]string) wire.Workload {
	pod := wire.Workload{Namespace: env["K8S_POD_NAMESPACE"], Name: env["K8S_POD_NAME"], UID: env["K8S_POD_UID"]}
	allocation := wire.Workload{
		Namespace: env["NOMAD_NAMESPACE"], UID: env["NOMAD_ALLOC_ID"],
		Name: strings.Trim(env["NOMAD_JOB_ID"]+"/"+env["NOMAD_GROUP_NAME"], "/"),
	}
	if pod.Name == "" {
		pod = allocation
	}
	return pod.Bounded()
}
