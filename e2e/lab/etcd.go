package lab

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"syscall"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"

	"github.com/berth-ipam/berth/lease/embedded"
)

// An Etcd is a real etcd in a process of its own, which keeps its data over restarts.
type Etcd struct {
	options etcdOptions
	process *process
	client  *clientv3.Client
}

type etcdOptions struct{ Dir, Listen string }

// Endpoint is where it answers, from every node.
func (e *Etcd) Endpoint() string { return e.options.Listen }

// Start runs it and waits until it answers.
func (e *Etcd) Start(ctx context.Context) error {
	job, err := json.Marshal(e.options)
	if err != nil {
		return err
	}
	command := exec.Command("/proc/self/exe")
	command.Env = append(os.Environ(), etcdJob+"="+string(job))
	if e.process, err = start("", "etcd", command); err != nil {
		return err
	}
	if e.client == nil {
		e.client, err = clientv3.New(clientv3.Config{
			Endpoints: []string{e.options.Listen}, Logger: zap.NewNop(), DialTimeout: patience,
			DialOptions: []grpc.DialOption{grpc.WithConnectParams(grpc.ConnectParams{
				Backoff: backoff.Config{BaseDelay: 20 * time.Millisecond, Multiplier: 1, MaxDelay: 20 * time.Millisecond},
			})},
		})
		if err != nil {
			return err
		}
	}
	return e.await(ctx)
}

func (e *Etcd) await(ctx context.Context) error {
	return Eventually(ctx, "etcd answers", func() error {
		if !e.process.running() {
			return Never(fmt.Errorf("lab: etcd has ended: %s", tail(e.process.log, 5)))
		}
		once, cancel := context.WithTimeout(ctx, time.Second)
		defer cancel()
		_, err := e.client.Get(once, "ready")
		return err
	})
}

// Halt stops it in good order; Start brings it back with what it held.
func (e *Etcd) Halt() error { return e.process.end(syscall.SIGTERM) }

// Kill stops it as a power cut would.
func (e *Etcd) Kill() error { return e.process.end(syscall.SIGKILL) }

// Stop halts it for good.
func (e *Etcd) Stop() error {
	if e.client != nil {
		_ = e.client.Close()
	}
	return e.Halt()
}

// Get gives every key under the prefix, with its value.
func (e *Etcd) Get(ctx context.Context, prefix string) (map[string]string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	answer, err := e.client.Get(ctx, prefix, clientv3.WithPrefix())
	if err != nil {
		return nil, fmt.Errorf("lab: etcd: get %s: %w", prefix, err)
	}
	found := make(map[string]string, len(answer.Kvs))
	for _, kv := range answer.Kvs {
		found[string(kv.Key)] = string(kv.Value)
	}
	return found, nil
}

// serveEtcd is the whole of the process: it serves until it is asked to end.
func serveEtcd(options etcdOptions) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server, err := embedded.Start(ctx, embedded.Options{
		Dir: options.Dir, Name: "lab", ListenClient: []string{options.Listen}, Fast: true,
	})
	if err != nil {
		return err
	}
	<-ctx.Done()
	server.Stop()
	return nil
}
