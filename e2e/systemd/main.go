// Command systemd boots a machine with a real systemd, pastes the lines of README's installation on one machine, and sees
// that each succeeds at once, that the machine then gives a container an address, and that its agent keeps what the unit promises. It
// needs root, and debootstrap for its first run.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

func main() {
	if len(os.Args) == 5 && os.Args[1] == "boot" {
		fmt.Fprintln(os.Stderr, boot(os.Args[2], os.Args[3], os.Args[4]))
		os.Exit(1)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "e2e-systemd:", err)
		os.Exit(1)
	}
	fmt.Println("every line succeeded at once")
}

func run(ctx context.Context) (err error) {
	tree, err := os.Getwd()
	if err != nil {
		return err
	}
	lines, err := installation(filepath.Join(tree, "README.md"))
	if err != nil {
		return err
	}
	root, err := system(ctx)
	if err != nil {
		return err
	}
	m, err := start(ctx, root, tree)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.stop()) }()
	for _, line := range lines {
		if err := m.paste(ctx, line); err != nil {
			return err
		}
	}
	return m.use(ctx)
}

// installation is what README says under "One machine": a line each.
func installation(readme string) ([]string, error) {
	text, err := os.ReadFile(readme)
	if err != nil {
		return nil, err
	}
	_, section, _ := strings.Cut(string(text), "### One machine")
	_, section, _ = strings.Cut(section, "```sh\n")
	section, _, found := strings.Cut(section, "```")
	if !found {
		return nil, fmt.Errorf("%s has no lines of shell under \"One machine\"", readme)
	}
	return strings.Split(strings.TrimSpace(section), "\n"), nil
}

// paste runs a line, which is to succeed the first time.
func (m *machine) paste(ctx context.Context, line string) error {
	fmt.Println("#", line)
	output, err := m.run(ctx, line)
	fmt.Print(output)
	if err != nil {
		log, _ := m.run(ctx, "journalctl --no-pager -n 30 -u berthd")
		return fmt.Errorf("%q: %w\n%s", line, err, log)
	}
	return nil
}

// use is what the machine is for, and what its unit promises.
func (m *machine) use(ctx context.Context) error {
	for _, line := range []string{
		"systemctl is-active berthd",
		"ip netns add c1 && berthctl insert c1 --netns /run/netns/c1 --namespace shop --app web && ip netns exec c1 ping -c 1 -W 2 10.42.0.1",
		// A restart, whose end is no error, keeps the container.
		"systemctl restart berthd && berthctl get assignments && ip netns exec c1 ping -c 1 -W 2 10.42.0.1",
		"! journalctl --no-pager -u berthd | grep -E '(ERROR|WARN)'",
		// Under the unit's own sandbox the locks hold: a second agent is refused and told of the first.
		refused("berthd"), refused("berthd --run-dir /run/second"),
		refused("berthd --run-dir /run/second --data-dir /var/lib/second --node second"),
		"berthctl delete c1 && systemctl stop berthd && ! systemctl is-failed berthd",
		"test ! -e /run/lock/berth",
	} {
		if err := m.paste(ctx, line); err != nil {
			return err
		}
	}
	return nil
}

// refused is a line that starts a second agent, and succeeds where it is refused and told of the first.
func refused(second string) string {
	return fmt.Sprintf(`said=$(timeout 20 %s 2>&1) && exit 1; echo "$said"; grep -q "the agent of node %s" <<<"$said"`, second, hostname)
}
