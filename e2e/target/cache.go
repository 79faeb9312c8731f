package target

import (
	"context"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// A Cache is a directory outside of the tree. What was built into it stays for the next run.
type Cache struct{ Dir string }

// NewCache gives the user's cache of a name, and makes its directory.
func NewCache(name string) (Cache, error) {
	if os.Getuid() != 0 {
		return Cache{}, fmt.Errorf("packages are installed and machines are made by root: run it as root")
	}
	users, err := os.UserCacheDir()
	if err != nil {
		return Cache{}, err
	}
	c := Cache{filepath.Join(users, name)}
	return c, os.MkdirAll(c.Dir, 0o755)
}

// Debian installs the packages of which the named program is missing.
func (c Cache) Debian(ctx context.Context, programOf map[string]string) error {
	var missing []string
	for _, name := range slices.Sorted(maps.Keys(programOf)) {
		if !There(programOf[name]) {
			missing = append(missing, name)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	fmt.Println("installing", strings.Join(missing, ", "))
	if err := c.run(ctx, "", "apt-get", "update"); err != nil {
		return err
	}
	return c.run(ctx, "", "apt-get", append([]string{"install", "-y", "--no-install-recommends"}, missing...)...)
}

// Install has the Go tool install a program of a module, as `go install` does, unless it is in the directory already.
func (c Cache) Install(ctx context.Context, dir, program, version string) error {
	if There(filepath.Join(dir, filepath.Base(program))) {
		return nil
	}
	return c.run(ctx, "", "env", "CGO_ENABLED=0", "GOBIN="+dir, "go", "install", "-ldflags", "-s -w", program+"@"+version)
}

// Build builds a program of a module, unless it is there already.
func (c Cache) Build(ctx context.Context, to, program, module, version string, flags ...string) error {
	return c.BuildIn(ctx, to, program, []string{"-require", module + "@" + version}, flags...)
}

// BuildIn builds a program in a throw-away module of its own, to which the edits of `go mod edit` are made, unless it is there already.
// Many modules cannot be installed by their path, since they replace others.
func (c Cache) BuildIn(ctx context.Context, to, program string, edits []string, flags ...string) error {
	if There(to) {
		return nil
	}
	dir := filepath.Join(c.Dir, "modules", filepath.Base(program))
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	source := fmt.Sprintf("//go:build tools\n\npackage tools\n\nimport _ %q\n", program)
	if err := os.WriteFile(filepath.Join(dir, "tools.go"), []byte(source), 0o644); err != nil {
		return err
	}
	fmt.Println("building", filepath.Base(program), "into", filepath.Dir(to))
	for _, command := range [][]string{
		{"go", "mod", "init", "berth.dev/target"},
		append([]string{"go", "mod", "edit"}, edits...),
		{"go", "mod", "tidy"},
		append(append([]string{"env", "CGO_ENABLED=0", "go", "build", "-trimpath", "-ldflags", "-s -w", "-o", to}, flags...), program),
	} {
		if err := c.run(ctx, dir, command[0], command[1:]...); err != nil {
			return err
		}
	}
	return nil
}

// StagingOf gives the edits of `go mod edit` without which no module can require a release of Kubernetes: its staging
// repositories are modules of their own outside of it. The release is without its v, such as 1.36.3.
func (c Cache) StagingOf(ctx context.Context, kubernetes string) (edits []string, err error) {
	listed, err := exec.CommandContext(ctx, "sh", "-c",
		`cat "$(go mod download -json k8s.io/kubernetes@v`+kubernetes+` | sed -n 's/.*"GoMod": "\(.*\)",/\1/p')"`).Output()
	if err != nil {
		return nil, fmt.Errorf("the modules of Kubernetes %s: %w", kubernetes, err)
	}
	edits = []string{"-replace", "k8s.io/kubernetes=k8s.io/kubernetes@v" + kubernetes}
	for line := range strings.Lines(string(listed)) {
		name, _, staged := strings.Cut(strings.TrimSpace(line), " => ./staging/")
		if staged {
			edits = append(edits, "-replace", name+"="+name+"@v0"+strings.TrimPrefix(kubernetes, "1"))
		}
	}
	return edits, nil
}

func (c Cache) run(ctx context.Context, dir, name string, args ...string) error {
	command := exec.CommandContext(ctx, name, args...)
	command.Dir = dir
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("%v: %w: %s", command, err, Tail(string(output)))
	}
	return nil
}

// There reports whether a path exists.
func There(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// Tail is the end of an output, which has the cause.
func Tail(output string) string {
	const most = 1500
	return strings.TrimSpace(output[max(0, len(output)-most):])
}
