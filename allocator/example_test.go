package allocator_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/berth-ipam/berth/allocator"
)

// A node owns one block of a pool, gives two addresses out of it, and gives a replacement the address of the one it replaces.
func Example() {
	pool := (allocator.Pool{
		Name:     "default",
		CIDRs:    []netip.Prefix{netip.MustParsePrefix("10.42.0.0/16")},
		Gateways: []netip.Addr{netip.MustParseAddr("10.42.0.1")},
		Reuse:    allocator.Duration(10 * time.Minute),
	}).WithDefaults()
	web := allocator.App{Namespace: "shop", Name: "web"}
	space := allocator.NewSpace(&pool, allocator.V4)
	fmt.Println(space.Add(netip.MustParsePrefix("10.42.64.0/26"), false), "addresses")

	now := allocator.Instant(0)
	first, _ := space.Allocate(web, now, false)
	second, _ := space.Allocate(web, now, false)
	fmt.Println(first.Address, second.Address)

	space.Release(first.Address, web, now+allocator.Instant(time.Minute), 2*time.Second)
	again, outcome := space.Allocate(web, now+allocator.Instant(2*time.Minute), false)
	fmt.Println(again.Address, again.Source, outcome == allocator.Taken)
	// Output:
	// 64 addresses
	// 10.42.64.0 10.42.64.1
	// 10.42.64.0 reused true
}

// A pool is checked before anything is given out of it.
func ExamplePool_Validate() {
	pool := allocator.Pool{Name: "small", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.42.0.0/29")}}
	fmt.Println(pool.Validate())
}
