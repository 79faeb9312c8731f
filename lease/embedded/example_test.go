package embedded_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/berth-ipam/berth/lease"
	"github.com/berth-ipam/berth/lease/embedded"
)

// An etcd for one machine, and the cluster's state in it.
func Example() {
	dir, err := os.MkdirTemp("", "berth")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	ctx := context.Background()
	server, err := embedded.Start(ctx, embedded.Options{
		Dir: filepath.Join(dir, "data"), Name: "n1", ListenUnix: filepath.Join(dir, "etcd.sock"), Fast: true,
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Stop()

	store, err := lease.Open(lease.Options{Endpoints: server.Endpoints()})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer store.Close()
	config, err := store.Config(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("revision %d, session %s, %d pools\n", config.Revision, config.Settings.Session, len(config.Pools))
	// Output: revision 0, session 15s, 0 pools
}
