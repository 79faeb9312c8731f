package embedded_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/berth-ipam/berth/lease/embedded"
)

// An etcd in the process is asked as any other is.
func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "berth")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer os.RemoveAll(dir)
	socket := filepath.Join(dir, "etcd.sock")
	server, err := embedded.Start(ctx, embedded.Options{Dir: filepath.Join(dir, "data"), Name: "example", ListenUnix: socket, Fast: true})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer server.Stop()

	client, err := clientv3.New(clientv3.Config{Endpoints: []string{"unix://" + socket}})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	if _, err := client.Put(ctx, "greeting", "hello"); err != nil {
		fmt.Println(err)
		return
	}
	answer, err := client.Get(ctx, "greeting")
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s\n", answer.Kvs[0].Value)
	// Output: hello
}
