// Command services tries Services and host ports with a real kube-apiserver and a real kube-proxy on each node, in each mode of
// a pool, each family, and each mode of kube-proxy. It needs root, Debian's packages and the Go module proxy; what it
// builds lies in the user's cache (berth-services), outside of the tree. It ends with 0 when every claim holds, and leaves
// nothing running.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/berth-ipam/berth/e2e/lab"
	"github.com/berth-ipam/berth/e2e/target"
)

func main() {
	only := flag.String("only", "", "only the arrangements whose name contains each of these words")
	proxies := flag.String("proxies", "iptables,nftables,iptables-legacy", "the modes of kube-proxy, in their order on each node")
	patience := flag.Duration("patience", 30*time.Second, "how long a claim that does not hold is tried again")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, strings.Fields(*only), strings.Split(*proxies, ","), *patience); err != nil {
		fmt.Fprintln(os.Stderr, "services:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, only, proxies []string, patience time.Duration) error {
	// What is built is built outside of the sandbox, which has no network.
	t, err := fetch(ctx)
	if err != nil {
		return err
	}
	if err := lab.Enter(); err != nil {
		return err
	}
	claims := &target.Claims{}
	for _, a := range arrangements() {
		if !a.named(only) {
			continue
		}
		claims.About(a.name(), func() error {
			return tell(ctx, &story{arrangement: a, tools: t, Claims: claims, patience: patience}, proxies)
		})
	}
	return claims.Sum()
}
