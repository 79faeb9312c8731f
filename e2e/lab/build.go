package lab

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// binariesIn in the environment names a directory that has the programs already.
const binariesIn = "BERTH_LAB_BIN"

// A Variant is the programs by a source with changes, for programs that are broken on purpose.
type Variant struct {
	Name    string                                             // empty: the source as it is
	Overlay func(tree, dir string) (overlay string, err error) // writes what go build -overlay wants into dir, and returns its file
}

// Build gives a directory with berth, berthd and berthctl, built from the tree that this package is part of; with the
// race detector on, berthd is built with it too.
// It is to be called before Enter, and again inside, where it gives the same directory. The directory is .cache in the
// tree, so that what has not changed is not linked again.
func Build() (dir string, err error) { return Variant{}.Build() }

// Build is Build of a variant.
func (v Variant) Build() (dir string, err error) {
	binariesIn, within := binariesIn, "lab"
	if v.Name != "" {
		binariesIn, within = binariesIn+"_"+strings.ToUpper(v.Name), within+"-"+v.Name
	}
	if dir := os.Getenv(binariesIn); dir != "" || os.Getenv(etcdJobIn) != "" {
		return dir, nil
	}
	tree, err := tree()
	if err != nil {
		return "", err
	}
	dir = filepath.Join(tree, ".cache", within)
	if raceDetector {
		dir += "-race"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	unlock, err := lock(filepath.Join(dir, ".lock"))
	if err != nil {
		return "", err
	}
	defer unlock()
	var overlay string
	if v.Overlay != nil {
		if overlay, err = v.Overlay(tree, filepath.Join(dir, "source")); err != nil {
			return "", err
		}
	}
	if err := build(tree, dir, overlay, false, "./cmd/berth", "./cmd/berthctl"); err != nil {
		return "", err
	}
	if err := build(tree, dir, overlay, raceDetector, "./cmd/berthd"); err != nil {
		return "", err
	}
	return dir, os.Setenv(binariesIn, dir)
}

// tree is the module's directory, that of go.mod, which the working directory is below.
func tree() (string, error) {
	start, err := os.Getwd()
	for dir := start; err == nil; dir = filepath.Dir(dir) {
		if _, missing := os.Stat(filepath.Join(dir, "go.mod")); missing == nil {
			return dir, nil
		}
		if dir == filepath.Dir(dir) {
			return "", fmt.Errorf("lab: no go.mod above %s: run it inside the tree, or set %s", start, binariesIn)
		}
	}
	return "", err
}

func build(tree, dir, overlay string, race bool, packages ...string) error {
	args := []string{"build", "-o", dir + "/", "-overlay", overlay} // empty: none
	way, cgo := "-trimpath", "CGO_ENABLED=0"                        // as make build does, for the compiler's cache
	if race {
		way, cgo = "-race", "CGO_ENABLED=1"
	}
	args = append(args, way)
	command := exec.Command("go", append(args, packages...)...)
	command.Dir, command.Env = tree, append(os.Environ(), cgo)
	if output, err := command.CombinedOutput(); err != nil {
		return fmt.Errorf("lab: %v: %w: %s", command, err, strings.TrimSpace(string(output)))
	}
	return nil
}

// lock keeps two test binaries from building at once.
func lock(path string) (unlock func(), err error) {
	file, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(file.Fd()), unix.LOCK_EX); err != nil {
		file.Close()
		return nil, fmt.Errorf("lab: lock %s: %w", path, err)
	}
	return func() { file.Close() }, nil
}
