package deploy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// The parts of the Kubernetes API that the manifest uses, field by field: an unknown or misspelt one is an error.
type (
	object struct {
		APIVersion string            `yaml:"apiVersion"`
		Kind       string            `yaml:"kind"`
		Metadata   metadata          `yaml:"metadata"`
		Data       map[string]string `yaml:"data"`
		Automount  *bool             `yaml:"automountServiceAccountToken"`
		Spec       daemonSet         `yaml:"spec"`
	}
	metadata struct {
		Name      string            `yaml:"name"`
		Namespace string            `yaml:"namespace"`
		Labels    map[string]string `yaml:"labels"`
	}
	daemonSet struct {
		Selector struct {
			MatchLabels map[string]string `yaml:"matchLabels"`
		} `yaml:"selector"`
		UpdateStrategy struct {
			Type          string `yaml:"type"`
			RollingUpdate struct {
				MaxUnavailable string `yaml:"maxUnavailable"`
			} `yaml:"rollingUpdate"`
		} `yaml:"updateStrategy"`
		Template struct {
			Metadata metadata `yaml:"metadata"`
			Spec     pod      `yaml:"spec"`
		} `yaml:"template"`
	}
	pod struct {
		ServiceAccountName string            `yaml:"serviceAccountName"`
		Automount          *bool             `yaml:"automountServiceAccountToken"`
		HostNetwork        bool              `yaml:"hostNetwork"`
		PriorityClassName  string            `yaml:"priorityClassName"`
		Grace              int               `yaml:"terminationGracePeriodSeconds"`
		NodeSelector       map[string]string `yaml:"nodeSelector"`
		Tolerations        []struct {
			Operator string `yaml:"operator"`
		} `yaml:"tolerations"`
		InitContainers []container `yaml:"initContainers"`
		Containers     []container `yaml:"containers"`
		Volumes        []volume    `yaml:"volumes"`
	}
	container struct {
		Name            string   `yaml:"name"`
		Image           string   `yaml:"image"`
		ImagePullPolicy string   `yaml:"imagePullPolicy"`
		Command         []string `yaml:"command"`
		Env             []struct {
			Name, Value string
			ValueFrom   struct {
				FieldRef struct {
					FieldPath string `yaml:"fieldPath"`
				} `yaml:"fieldRef"`
				ConfigMapKeyRef struct {
					Name, Key string
				} `yaml:"configMapKeyRef"`
			} `yaml:"valueFrom"`
		} `yaml:"env"`
		Ports []struct {
			Name          string
			ContainerPort int `yaml:"containerPort"`
			HostPort      int `yaml:"hostPort"`
		} `yaml:"ports"`
		ReadinessProbe  probe `yaml:"readinessProbe"`
		LivenessProbe   probe `yaml:"livenessProbe"`
		Resources       struct{ Requests map[string]string }
		SecurityContext struct{ Privileged bool } `yaml:"securityContext"`
		VolumeMounts    []struct {
			Name      string
			MountPath string `yaml:"mountPath"`
			ReadOnly  bool   `yaml:"readOnly"`
		} `yaml:"volumeMounts"`
	}
	probe struct {
		HTTPGet struct {
			Path, Port string
		} `yaml:"httpGet"`
		PeriodSeconds    int `yaml:"periodSeconds"`
		FailureThreshold int `yaml:"failureThreshold"`
	}
	volume struct {
		Name      string
		HostPath  struct{ Path, Type string } `yaml:"hostPath"`
		ConfigMap struct{ Name string }       `yaml:"configMap"`
	}
	role struct {
		APIVersion string   `yaml:"apiVersion"`
		Kind       string   `yaml:"kind"`
		Metadata   metadata `yaml:"metadata"`
		Rules      []struct {
			APIGroups     []string `yaml:"apiGroups"`
			Resources     []string `yaml:"resources"`
			ResourceNames []string `yaml:"resourceNames"`
			Verbs         []string `yaml:"verbs"`
		} `yaml:"rules"`
	}
	roleBinding struct {
		APIVersion string      `yaml:"apiVersion"`
		Kind       string      `yaml:"kind"`
		Metadata   metadata    `yaml:"metadata"`
		RoleRef    reference   `yaml:"roleRef"`
		Subjects   []reference `yaml:"subjects"`
	}
	reference struct {
		APIGroup string `yaml:"apiGroup"`
		Kind     string `yaml:"kind"`
		Name     string `yaml:"name"`
	}
)

// versions are those in which the kinds of the manifest are served.
var versions = map[string]string{
	"Namespace": "v1", "ServiceAccount": "v1", "ConfigMap": "v1", "DaemonSet": "apps/v1",
	"Role": "rbac.authorization.k8s.io/v1", "RoleBinding": "rbac.authorization.k8s.io/v1",
}

// manifest reads the file strictly.
func manifest(t *testing.T) (objects map[string]object, binding roleBinding) {
	t.Helper()
	text, err := os.ReadFile("kubernetes/berth.yaml")
	if err != nil {
		t.Fatal(err)
	}
	objects = map[string]object{}
	for document := range bytes.SplitSeq(text, []byte("\n---\n")) {
		var kind struct{ Kind, APIVersion string }
		if err := yaml.Unmarshal(bytes.ReplaceAll(document, []byte("apiVersion"), []byte("apiversion")), &kind); err != nil {
			t.Fatal(err)
		}
		if versions[kind.Kind] != kind.APIVersion {
			t.Errorf("%s has version %q: want %q", kind.Kind, kind.APIVersion, versions[kind.Kind])
		}
		var o object
		var into any = &o
		switch kind.Kind {
		case "Role":
			into = &role{}
		case "RoleBinding":
			into = &binding
		}
		decoder := yaml.NewDecoder(bytes.NewReader(document))
		decoder.KnownFields(true)
		if err := decoder.Decode(into); err != nil && !errors.Is(err, io.EOF) {
			t.Fatalf("%s: %v", kind.Kind, err)
		}
		objects[kind.Kind] = o
	}
	return objects, binding
}

func TestTheManifestHoldsTogether(t *testing.T) {
	objects, binding := manifest(t)
	set, config := objects["DaemonSet"].Spec, objects["ConfigMap"]
	spec := set.Template.Spec
	for key, value := range set.Selector.MatchLabels {
		if set.Template.Metadata.Labels[key] != value {
			t.Errorf("the selector wants %s=%s, which the pods have not", key, value)
		}
	}
	if spec.ServiceAccountName != objects["ServiceAccount"].Metadata.Name {
		t.Errorf("service account %q is not in the file", spec.ServiceAccountName)
	}
	if binding.RoleRef.Kind != "Role" || binding.RoleRef.Name != "berth-operator" {
		t.Errorf("the role binding is for %v, which is not in the file", binding.RoleRef)
	}
	if !spec.HostNetwork || spec.PriorityClassName != "system-node-critical" || *spec.Automount {
		t.Errorf("host network %v, priority %q, token %v: want true, system-node-critical, false", spec.HostNetwork, spec.PriorityClassName,
			*spec.Automount)
	}
	for _, c := range slices.Concat(spec.InitContainers, spec.Containers) {
		for _, mount := range c.VolumeMounts {
			if !slices.ContainsFunc(spec.Volumes, func(v volume) bool { return v.Name == mount.Name }) {
				t.Errorf("%s mounts %s, which is no volume", c.Name, mount.Name)
			}
		}
		for _, variable := range c.Env {
			if ref := variable.ValueFrom.ConfigMapKeyRef; ref.Name != "" {
				if _, ok := config.Data[ref.Key]; !ok || ref.Name != config.Metadata.Name {
					t.Errorf("%s reads %s of %s, which is not in the file", variable.Name, ref.Key, ref.Name)
				}
			}
		}
	}
	agent := spec.Containers[0]
	for path, p := range map[string]probe{"/readyz": agent.ReadinessProbe, "/healthz": agent.LivenessProbe} {
		if p.HTTPGet.Path != path || p.HTTPGet.Port != agent.Ports[0].Name {
			t.Errorf("probe %v: want %s on port %s", p.HTTPGet, path, agent.Ports[0].Name)
		}
	}
	if agent.Ports[0].ContainerPort != agent.Ports[0].HostPort {
		t.Errorf("ports %v: on the host's network they are the same", agent.Ports[0])
	}
}

func TestTheConfigMapHoldsTheShippedCNIConfiguration(t *testing.T) {
	objects, _ := manifest(t)
	shipped, err := os.ReadFile("cni/10-berth.conflist")
	if err != nil {
		t.Fatal(err)
	}
	if held := objects["ConfigMap"].Data["10-berth.conflist"]; strings.TrimSpace(held) != strings.TrimSpace(string(shipped)) {
		t.Errorf("the ConfigMap holds\n%s\nwant deploy/cni/10-berth.conflist\n%s", held, shipped)
	}
}

// TestTheShippedPoolIsTheOneOfTheShippedNetwork holds the pool against the network: what the network says of bridges and masquerading means
// nothing in the pool's mode, and an uplink would be refused.
func TestTheShippedPoolIsTheOneOfTheShippedNetwork(t *testing.T) {
	text, err := os.ReadFile("kubernetes/pool.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Pools []struct {
			Name   string
			Mode   string
			IPMasq bool `yaml:"ipMasq"`
		}
	}
	if err := yaml.Unmarshal(text, &file); err != nil || len(file.Pools) != 1 {
		t.Fatalf("the file has %d pools, error %v: want one", len(file.Pools), err)
	}
	objects, _ := manifest(t)
	var network struct {
		Plugins []struct {
			Pool   string
			Uplink string
			IPMasq bool `yaml:"ipMasq"`
		}
	}
	if err := yaml.Unmarshal([]byte(objects["ConfigMap"].Data["10-berth.conflist"]), &network); err != nil {
		t.Fatal(err)
	}
	pool, plugin := file.Pools[0], network.Plugins[0]
	if pool.Name != plugin.Pool || pool.Mode != "auto" || pool.IPMasq != plugin.IPMasq || plugin.Uplink != "" {
		t.Errorf("the pool is %+v, and the network says %+v: want the same pool, mode auto, ipMasq alike, no uplink", pool, plugin)
	}
}

func TestTheInitContainerInstallsByRename(t *testing.T) {
	objects, _ := manifest(t)
	install := objects["DaemonSet"].Spec.Template.Spec.InitContainers[0]
	host, config := t.TempDir(), t.TempDir()
	bin, net := filepath.Join(host, "opt/cni/bin"), filepath.Join(host, "etc/cni/net.d")
	for _, dir := range []string{bin, net} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	plugin := filepath.Join(config, "berth") // the image has it in /usr/bin
	write(t, plugin, "new")
	write(t, filepath.Join(bin, "berth"), "old")
	write(t, filepath.Join(config, "10-berth.conflist"), `{"type": "portmap"}`)
	run := func() (string, error) {
		command := exec.Command(install.Command[0], append(install.Command[1:len(install.Command)-1:len(install.Command)-1],
			strings.ReplaceAll(install.Command[len(install.Command)-1], "/usr/bin/berth", plugin))...)
		command.Env = append(os.Environ(), "HOST="+host, "CONFIG="+config)
		output, err := command.CombinedOutput()
		return string(output), err
	}
	if output, err := run(); err == nil || !strings.Contains(output, "portmap") {
		t.Fatalf("without portmap it ends with %v: %s: want an error that names it", err, output)
	}
	if _, err := os.Stat(filepath.Join(net, "10-berth.conflist")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("without portmap it installs the configuration, error %v: every pod of the node would fail", err)
	}
	write(t, filepath.Join(bin, "portmap"), "")
	running, err := os.Open(filepath.Join(bin, "berth"))
	if err != nil {
		t.Fatal(err)
	}
	defer running.Close()

	if output, err := run(); err != nil {
		t.Fatalf("%v: %s", err, output)
	}
	for path, want := range map[string]string{filepath.Join(bin, "berth"): "new",
		filepath.Join(net, "10-berth.conflist"): `{"type": "portmap"}`} {
		if got, err := os.ReadFile(path); err != nil || string(got) != want {
			t.Errorf("%s holds %q, error %v: want %q", path, got, err, want)
		}
	}
	if old, _ := io.ReadAll(running); string(old) != "old" {
		t.Errorf("the file in use now reads %q: it was written over", old)
	}
	if left, _ := filepath.Glob(filepath.Join(host, "*/*/*/.*new")); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}
