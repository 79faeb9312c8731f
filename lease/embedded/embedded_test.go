package embedded

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/berth-ipam/berth/internal/sandbox"
)

func TestMain(m *testing.M) {
	if err := sandbox.Enter(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	os.Exit(m.Run())
}

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "e")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

func client(t *testing.T, endpoint string) *clientv3.Client {
	t.Helper()
	c, err := clientv3.New(clientv3.Config{Endpoints: []string{endpoint}, Logger: zap.NewNop()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func begin(t *testing.T, o Options) *Server {
	t.Helper()
	s, err := Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func within(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestWhatWasStoredIsThereAfterARestart(t *testing.T) {
	dir := shortDir(t)
	o := Options{Dir: filepath.Join(dir, "data"), Name: "n1", ListenUnix: filepath.Join(dir, "run", "etcd.sock"), Fast: true}
	s := begin(t, o)
	put, err := client(t, s.Endpoints()[0]).Put(within(t), "key", "value")
	if err != nil {
		t.Fatal(err)
	}
	s.Stop()
	if _, err := os.Stat(o.ListenUnix); !os.IsNotExist(err) {
		t.Errorf("the socket is still there: %v", err)
	}

	s = begin(t, o)
	defer s.Stop()
	got, err := client(t, s.Endpoints()[0]).Get(within(t), "key")
	if err != nil || len(got.Kvs) != 1 || string(got.Kvs[0].Value) != "value" {
		t.Errorf("got %v, %v", got, err)
	}
	if got.Header.ClusterId != put.Header.ClusterId {
		t.Error("the restart made another cluster")
	}
}

func TestAStopIsNoErrorInTheLog(t *testing.T) {
	core, logged := observer.New(zap.WarnLevel)
	dir := shortDir(t)
	o := Options{Dir: filepath.Join(dir, "data"), Name: "n1", ListenUnix: filepath.Join(dir, "s"),
		ListenClient: []string{"http://127.0.0.1:0"}, Fast: true, Log: zap.New(core)}
	s := begin(t, o)
	c := client(t, s.Endpoints()[0])
	watch := c.Watch(t.Context(), "key") // as the agent's, it is under way when the etcd stops
	if _, err := c.Put(within(t), "key", "value"); err != nil {
		t.Fatal(err)
	}
	<-watch
	s.Stop()
	for _, entry := range logged.All() {
		t.Errorf("%s: %s %v", entry.Level, entry.Message, entry.ContextMap())
	}
}

func TestARecreatedEtcdIsAnotherCluster(t *testing.T) {
	dir := shortDir(t)
	var ids []uint64
	for _, data := range []string{"first", "second"} {
		s := begin(t, Options{Dir: filepath.Join(dir, data), Name: "n1", ListenUnix: filepath.Join(dir, "etcd.sock"), Fast: true})
		got, err := client(t, s.Endpoints()[0]).Get(within(t), "key")
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, got.Header.ClusterId)
		s.Stop()
	}
	if ids[0] == ids[1] {
		t.Errorf("both have the cluster id %x", ids[0])
	}
}

func TestTheSocketIsForItsOwnerAlone(t *testing.T) {
	dir := shortDir(t)
	o := Options{Dir: filepath.Join(dir, "data"), Name: "n1", ListenUnix: filepath.Join(dir, "etcd.sock"), Fast: true}
	// What a killed process leaves is in nobody's way.
	left, err := net.Listen("unix", o.ListenUnix)
	if err != nil {
		t.Fatal(err)
	}
	defer left.Close()
	s := begin(t, o)
	defer s.Stop()
	info, err := os.Stat(o.ListenUnix)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, %v: want 0600", info.Mode(), err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Errorf("beside data and socket there is more: %v, %v", entries, err)
	}
}

func TestItListensOnFurtherAddresses(t *testing.T) {
	s := begin(t, Options{Dir: shortDir(t), Name: "n1", ListenClient: []string{"http://127.0.0.1:0"}, Fast: true})
	defer s.Stop()
	if len(s.Endpoints()) != 1 || strings.HasSuffix(s.Endpoints()[0], ":0") {
		t.Fatalf("endpoints are %v", s.Endpoints())
	}
	if _, err := client(t, s.Endpoints()[0]).Put(within(t), "key", "value"); err != nil {
		t.Error(err)
	}
}

func TestWhatCannotBeIsReportedInWords(t *testing.T) {
	dir := shortDir(t)
	for name, c := range map[string]struct {
		options Options
		want    string
	}{
		"a socket's path that is too long": {Options{Dir: dir, Name: "n1", ListenUnix: filepath.Join(dir, strings.Repeat("x", 108))}, "too long"},
		"nowhere to listen":                {Options{Dir: dir, Name: "n1"}, "listens nowhere"},
		"no URL":                           {Options{Dir: dir, Name: "n1", ListenClient: []string{"localhost"}}, "such as http://127.0.0.1:2379"},
		"a directory that is a file":       {Options{Dir: "/dev/null", Name: "n1", ListenClient: []string{"http://127.0.0.1:0"}}, "/dev/null"},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Start(t.Context(), c.options)
			if err == nil {
				s.Stop()
				t.Fatal("it started")
			}
			if !strings.Contains(err.Error(), c.want) {
				t.Errorf("the error does not say %q: %v", c.want, err)
			}
		})
	}
	if entries, _ := os.ReadDir(dir); len(entries) > 0 {
		t.Errorf("left behind: %v", entries)
	}
}

func TestOnlyWhatANewDataDirectoryLacksIsKeptOutOfTheLog(t *testing.T) {
	core, logged := observer.New(zap.WarnLevel)
	log := withoutExpected(zap.New(core)).With(zap.String("member", "n1"))
	log.Error("failed to update storage version", zap.Error(errors.New("cannot detect storage schema version: missing term information")))
	log.Info("below the level")
	log.Error("failed to update storage version", zap.Error(errors.New("disk is full")))
	log.Warn("no error in it")
	var got []string
	for _, entry := range logged.All() {
		got = append(got, entry.Message+" "+fmt.Sprint(entry.ContextMap()))
	}
	want := []string{"failed to update storage version map[error:disk is full member:n1]", "no error in it map[member:n1]"}
	if !slices.Equal(got, want) {
		t.Errorf("logged %q, want %q", got, want)
	}
}
