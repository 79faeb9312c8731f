package lab

import (
	"context"
	"fmt"
	"net/url"
	"os/signal"
	"syscall"

	"go.etcd.io/etcd/server/v3/embed"
)

// An etcdJob is what the process of a member is to be.
type etcdJob struct {
	Name, Dir, Client, Peer string
	Cluster, Token          string // what all members are told alike
}

// serve is the whole of the process: it serves until it is asked to end.
func (j etcdJob) serve() error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	config, err := j.config()
	if err != nil {
		return err
	}
	etcd, err := embed.StartEtcd(config)
	if err != nil {
		return fmt.Errorf("lab: etcd %s: %w", j.Name, err)
	}
	defer etcd.Close()
	select {
	case <-ctx.Done():
		return nil
	case err := <-etcd.Err():
		return fmt.Errorf("lab: etcd %s: %w", j.Name, err)
	}
}

func (j etcdJob) config() (*embed.Config, error) {
	c := embed.NewConfig()
	client, err := url.Parse(j.Client)
	if err != nil {
		return nil, err
	}
	peer, err := url.Parse(j.Peer)
	if err != nil {
		return nil, err
	}
	c.Name, c.Dir, c.LogLevel = j.Name, j.Dir, "error"
	c.ListenClientUrls, c.AdvertiseClientUrls = []url.URL{*client}, []url.URL{*client}
	c.ListenPeerUrls, c.AdvertisePeerUrls = []url.URL{*peer}, []url.URL{*peer}
	c.InitialCluster, c.InitialClusterToken = j.Cluster, j.Token
	c.EnableGRPCGateway = false
	// One member elects itself at once. Several share a machine that is busy with other things, and need patience.
	c.TickMs, c.ElectionMs, c.UnsafeNoFsync = 10, 100, true
	if c.InitialCluster != c.InitialClusterFromName(c.Name) {
		c.TickMs, c.ElectionMs = 50, 500
	}
	return c, nil
}
