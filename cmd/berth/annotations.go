package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/berth-ipam/berth/internal/nearest"
	"github.com/berth-ipam/berth/internal/wire"
)

// annotationPrefix begins the annotations of a pod that are Berth's.
const annotationPrefix = "berth.dev/"

// annotationKeys are what may follow it.
var annotationKeys = []string{"class", "app", "member", "pool", "addresses"}

// annotations are what a pod says of itself to Berth, by the key after the prefix. The namespace of a pod's app is the
// pod's own, since whoever may make pods in one namespace is not to have the addresses of another.
func (c *capabilities) annotations() (map[string]string, error) {
	said := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(c.Annotations)) {
		key, ours := strings.CutPrefix(name, annotationPrefix)
		switch {
		case !ours:
		case key == "namespace":
			return nil, wire.Errorf(wire.CodeConfig,
				"the pod has the annotation %s: there is none such, since the namespace of its app is the pod's own", name)
		case !slices.Contains(annotationKeys, key):
			return nil, wire.Errorf(wire.CodeConfig, "the pod has the unknown annotation %s: %s", name, nearest.Hint(key, annotationKeys))
		default:
			said[key] = c.Annotations[name]
		}
	}
	return said, nil
}
