package main

import (
	"os"
	"path/filepath"
	"testing"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/embedded"
)

// guarded starts an etcd that wants a user: root, with the password secret. It listens in the directory that it gives.
func guarded(t *testing.T) (dir string) {
	t.Helper()
	dir, err := os.MkdirTemp("", "ctl") // T's own directory is too long a path for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "etcd.sock")
	server, err := embedded.Start(t.Context(),
		embedded.Options{Dir: filepath.Join(dir, "etcd"), Name: "guarded", ListenUnix: socket, Fast: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(server.Stop)
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + socket}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	for _, err := range []error{
		second(client.UserAdd(t.Context(), "root", "secret")),
		second(client.RoleAdd(t.Context(), "root")),
		second(client.UserGrantRole(t.Context(), "root", "root")),
		second(client.AuthEnable(t.Context())),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func second[T any](_ T, err error) error { return err }

func TestAnEtcdThatWantsAPasswordSaysSo(t *testing.T) {
	dir := guarded(t)
	right, wrong := filepath.Join(dir, "right"), filepath.Join(dir, "wrong")
	for name, password := range map[string]string{right: "secret\n", wrong: "guessed\n"} {
		if err := os.WriteFile(name, []byte(password), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	execute(t, nil, "--run-dir", dir, "get", "pools").exits(exitError).complains("refuses", "--etcd-user", "--etcd-password-file")
	execute(t, nil, "--run-dir", dir, "--etcd-user", "root", "--etcd-password-file", wrong, "get", "pools").exits(exitError).
		complains("refuses", "--etcd-password-file")
	t.Setenv("BERTH_ETCD_USER", "root")
	t.Setenv("BERTH_ETCD_PASSWORD_FILE", right)
	execute(t, nil, "--run-dir", dir, "get", "pools").exits(exitDone)
}
