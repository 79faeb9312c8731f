package wire

import (
	"strings"
	"unicode"
)

// maxWorkload bounds each of a Workload's names, in bytes: what a DNS name may have (RFC 1035, section 2.3.4).
const maxWorkload = 253

// A Workload is the orchestrator's name of what it runs a container for. It is only shown.
type Workload struct {
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name,omitempty"`
	UID       string `json:"uid,omitempty"`
}

// Bounded is the workload in a form that can be kept and printed: each name is cut where it is too long, and unprintable
// characters are removed. No name of a workload is a reason to refuse its container.
func (w Workload) Bounded() Workload {
	return Workload{Namespace: bounded(w.Namespace), Name: bounded(w.Name), UID: bounded(w.UID)}
}

func bounded(name string) string {
	name = strings.ToValidUTF8(name[:min(len(name), maxWorkload)], "")
	return strings.Map(func(r rune) rune {
		if !unicode.IsGraphic(r) {
			return -1
		}
		return r
	}, name)
}
