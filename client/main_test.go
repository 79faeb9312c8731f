package client

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-ipam/berth/internal/sandbox"
	"github.com/berth-ipam/berth/internal/wire"
)

func TestMain(m *testing.M) {
	if err := sandbox.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(withExampleAgent(m.Run))
}

// ExampleSocket is where the agent of the examples listens.
var ExampleSocket string

func withExampleAgent(tests func() int) int {
	dir, err := os.MkdirTemp("", "client")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	ExampleSocket = filepath.Join(dir, "berth.sock")
	listener, err := listen(ExampleSocket, func(r *wire.Request, _ []*os.File) *wire.Response {
		if r.Select != nil {
			return &wire.Response{Set: &wire.SetVersion{Revision: 57, Complete: true, UpToDate: 1, Total: 1}}
		}
		return &wire.Response{Results: []wire.Result{given("10.42.0.7/16")}}
	})
	if err != nil {
		panic(err)
	}
	defer listener.Close()
	return tests()
}

// An answerer is what an agent does.
type answerer func(r *wire.Request, files []*os.File) *wire.Response

// listen serves requests the way that the agent does, until the listener is closed.
func listen(socket string, answer answerer) (io.Closer, error) {
	listener, err := new(net.ListenConfig).Listen(context.Background(), "unix", socket)
	if err != nil {
		return nil, err
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			serve(conn.(*net.UnixConn), answer)
		}
	}()
	return listener, nil
}

func serve(conn *net.UnixConn, answer answerer) {
	defer conn.Close()
	r, files, err := wire.Receive(conn, wire.ReceiveTime, nil)
	defer closeAll(files)
	if err != nil {
		_ = wire.Reply(conn, &wire.Response{Error: wire.AsError(err)})
		return
	}
	_ = wire.Reply(conn, answer(r, files))
}

// agent serves for one test.
func agent(t *testing.T, answer answerer) *Client {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // the test's own may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "berth.sock")
	listener, err := listen(socket, answer)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close(); os.RemoveAll(dir) })
	return New(socket)
}
