package exclusive

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

func TestADirectoryIsLockedByOneProcessWhichTheNextIsTold(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	first, err := Lock(dir, "the agent of node n1 (process 7)")
	if err != nil {
		t.Fatal(err)
	}
	_, err = Lock(dir, "another")
	if held, ok := errors.AsType[*HeldError](err); !ok || held.By != "the agent of node n1 (process 7)" || held.Dir != dir {
		t.Errorf("the second is told %v", err)
	}
	first.Close()
	second, err := Lock(dir, "x")
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if words, err := os.ReadFile(filepath.Join(dir, File)); err != nil || string(words) != "x\n" {
		t.Errorf("the lock says %q, %v: want what its present holder says", words, err)
	}
}

func TestALockThatAUserHasPlantedIsNotFollowed(t *testing.T) {
	for what, plant := range map[string]func(path string) error{
		"a symbolic link": func(path string) error { return os.Symlink(filepath.Join(filepath.Dir(path), "victim"), path) },
		"a pipe":          func(path string) error { return unix.Mkfifo(path, 0o600) },
		"a directory":     func(path string) error { return os.Mkdir(path, 0o700) },
	} {
		dir := t.TempDir()
		if err := plant(filepath.Join(dir, File)); err != nil {
			t.Fatal(err)
		}
		if l, err := Lock(dir, "the agent"); err == nil {
			l.Close()
			t.Errorf("%s was locked", what)
		}
		if _, err := os.Lstat(filepath.Join(dir, "victim")); err == nil {
			t.Errorf("by %s a file was made elsewhere", what)
		}
	}
}

// TestAPathThatOthersCanChangeIsRefused shows that each part of the path counts: who may write in one puts a directory of his
// own there.
func TestAPathThatOthersCanChangeIsRefused(t *testing.T) {
	const nobody = 65534
	if os.Geteuid() != 0 || unmapped() {
		t.Skip("only the machine's root can give files away")
	}
	for want, arrange := range map[string]func(base string) (dir string, err error){
		"chmod go-w": func(base string) (string, error) { // the directory itself
			return base, os.Chmod(base, 0o777|os.ModeSticky)
		},
		"belongs to user 65534": func(base string) (string, error) { // one above
			above := filepath.Join(base, "above")
			return filepath.Join(above, "run"), errors.Join(os.MkdirAll(filepath.Join(above, "run"), 0o755), os.Chown(above, nobody, nobody))
		},
		"open can be written by others": func(base string) (string, error) {
			above := filepath.Join(base, "open")
			return filepath.Join(above, "run"), errors.Join(os.MkdirAll(filepath.Join(above, "run"), 0o755), os.Chmod(above, 0o777))
		},
		"link belongs to user 65534": func(base string) (string, error) {
			link := filepath.Join(base, "link")
			return filepath.Join(link, "run"),
				errors.Join(os.MkdirAll(filepath.Join(base, "real/run"), 0o755), os.Symlink("real", link), os.Lchown(link, nobody, nobody))
		},
		"wide can be written by others": func(base string) (string, error) { // where a link of root's leads
			wide, link := filepath.Join(base, "wide"), filepath.Join(base, "by")
			return filepath.Join(link, "run"),
				errors.Join(os.MkdirAll(filepath.Join(wide, "run"), 0o755), os.Chmod(wide, 0o777), os.Symlink(wide, link))
		},
	} {
		dir, err := arrange(t.TempDir())
		if filepath.Base(dir) == "run" { // where it is missing, too, nothing is made
			err = errors.Join(err, os.Remove(dir))
		}
		if err != nil {
			t.Fatal(err)
		}
		l, err := Lock(dir, "the agent")
		if err == nil {
			l.Close()
			t.Errorf("%s was locked, want an error that says %q", dir, want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("the error does not say %q: %v", want, err)
		}
		if _, err := os.Stat(dir); filepath.Base(dir) == "run" && err == nil {
			t.Errorf("%s was made, where %q", dir, want)
		}
	}
}

func TestALinkOfRootsIsFollowed(t *testing.T) {
	base := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(base, "real"), 0o755), os.Symlink("real", filepath.Join(base, "link"))); err != nil {
		t.Fatal(err)
	}
	l, err := Lock(filepath.Join(base, "link/run"), "the agent")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestAKilledProcessLeavesNoLockBehind(t *testing.T) {
	dir := t.TempDir()
	if os.Getenv("BERTH_LOCK") != "" { // the process that is killed
		if _, err := Lock(os.Getenv("BERTH_LOCK"), "the victim"); err != nil {
			t.Fatal(err)
		}
		_, _ = os.Stdout.WriteString("locked\n")
		select {}
	}
	victim := exec.Command("/proc/self/exe", "-test.run", "^"+t.Name()+"$")
	victim.Env = append(os.Environ(), "BERTH_LOCK="+dir)
	out, err := victim.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := victim.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = out.Read(make([]byte, 7)) // until it has locked, or ended
	if _, err := Lock(dir, "the next"); err == nil {
		t.Error("it is locked by a living process, and was had")
	}
	_ = victim.Process.Kill()
	_ = victim.Wait()
	l, err := Lock(dir, "the next")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
}

func TestAPathThatLeadsNowhereIsRefusedInWords(t *testing.T) {
	base := t.TempDir()
	file, loop := filepath.Join(base, "file"), filepath.Join(base, "loop")
	if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Symlink("loop", loop)); err != nil {
		t.Fatal(err)
	}
	none := filepath.Join(base, "none", "run")
	for dir, want := range map[string]string{file: "is not a directory", loop: "symbolic links", none: "no such file"} {
		if err := trusted(dir); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want it to say %q", dir, err, want)
		}
	}
}
