package ipam_test

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/berth-ipam/berth/allocator/ipam"
)

func Example() {
	block := ipam.BlockID{Pool: "default", Prefix: netip.MustParsePrefix("10.42.0.64/26")}
	fmt.Printf("%v may be taken over %v after its owner was seen last\n", block, ipam.WaitOut(60*time.Second))
	fmt.Println(ipam.Address{Pool: "default", Addr: netip.MustParseAddr("10.42.0.65")})
	// Output:
	// 10.42.0.64/26 of pool default may be taken over 1m6s after its owner was seen last
	// 10.42.0.65 of pool default
}
