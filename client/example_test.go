package client_test

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-ipam/berth/client"
)

// An operator gives a container its address, and waits until the app has the present configuration everywhere.
func Example() {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	agent := client.New(client.ExampleSocket) // on a node: client.New("")

	results, err := agent.Insert(ctx, []client.Container{{ID: "4f1c0d6a8a1e", Role: client.IPAM, Namespace: "shop", App: "web"}},
		client.InsertOptions{})
	if err != nil {
		fmt.Println(err) // errors.AsType[*client.Error] gives its code
		return
	}
	fmt.Println("the address is", results[0].Addresses[0].Address)

	v, err := agent.Wait(ctx, client.Select{App: "shop/web"}, func(v *client.SetVersion) {
		fmt.Printf("%d of %d containers have revision %d\n", v.UpToDate, v.Total, v.Revision)
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println("complete:", v.Complete)
	// Output:
	// the address is 10.42.0.7/16
	// 1 of 1 containers have revision 57
	// complete: true
}
