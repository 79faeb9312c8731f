package exclusive

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// maxLinks bounds the symbolic links of a path, as the kernel does (path_resolution(7)).
const maxLinks = 40

// trusted reports why another user than root and this process's could put another directory where dir is: each part of the path,
// symbolic links included, must belong to one of the two and be writable by no other. In a directory with the sticky bit, like
// /tmp, it is enough that the part below is theirs. Where a part is missing it fails with os.ErrNotExist.
func trusted(dir string) error {
	path, err := filepath.Abs(dir)
	if err != nil {
		return err
	}
	at, rest := "/", strings.Split(strings.Trim(path, "/"), "/")
	if err := ours(at); err != nil {
		return err
	}
	for links := 0; len(rest) > 0; {
		next := filepath.Join(at, rest[0])
		rest = rest[1:]
		if err := ours(next); err != nil {
			return err
		}
		target, err := os.Readlink(next)
		if err != nil { // it is no link
			at = next
			continue
		}
		if links++; links > maxLinks {
			return fmt.Errorf("%s has more than %d symbolic links", dir, maxLinks)
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(at, target)
		}
		at, rest = "/", append(strings.Split(strings.Trim(filepath.Clean(target), "/"), "/"), rest...)
	}
	if info, err := os.Lstat(at); err != nil || !info.IsDir() {
		return errors.Join(err, fmt.Errorf("%s is not a directory", dir))
	} else if info.Mode().Perm()&0o022 != 0 {
		return fmt.Errorf("%s can be written by others than its owner: `chmod go-w %s`", at, at)
	}
	return nil
}

// ours checks one part of a path.
func ours(path string) error {
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	owner := int(info.Sys().(*syscall.Stat_t).Uid)
	switch mode := info.Mode(); {
	case owner != 0 && owner != os.Geteuid() && !(unmapped() && owner == overflow):
		return fmt.Errorf("%s belongs to user %d, who could put something else there: want root's (`chown root %s`)", path, owner, path)
	case mode.IsDir() && mode.Perm()&0o022 != 0 && mode&fs.ModeSticky == 0:
		return fmt.Errorf("%s can be written by others than its owner: `chmod go-w %s`", path, path)
	}
	return nil
}

// overflow is the owner of files of users that a user namespace does not know, such as the machine's root.
const overflow = 65534

// unmapped reports whether this is another user namespace than the machine's own (user_namespaces(7)): the machine's root is not
// visible here.
func unmapped() bool {
	mapping, err := os.ReadFile("/proc/self/uid_map")
	return err == nil && strings.Join(strings.Fields(string(mapping)), " ") != "0 0 4294967295"
}
