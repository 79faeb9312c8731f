package main

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"
)

// listening is a supervisor's socket, and what it hears.
func listening(t *testing.T, name string) (heard func() string) {
	t.Helper()
	conn, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: name, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	t.Setenv("NOTIFY_SOCKET", name)
	return func() string {
		t.Helper()
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		buffer := make([]byte, 200)
		n, err := conn.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		return string(buffer[:n])
	}
}

func TestTheSupervisorIsToldWhenTheAgentServesAndWhenItStops(t *testing.T) {
	for _, name := range []string{filepath.Join(t.TempDir(), "notify"), "@berth-test-notify"} {
		heard := listening(t, name)
		s := newSupervisor()
		ctx, stop := context.WithCancel(t.Context())
		s.starting(ctx, func(err error) { t.Error(err) })
		for _, want := range []string{"READY=1\nSTATUS=serving", "STATUS=serving"} {
			if err := s.serving(); err != nil {
				t.Fatal(err)
			}
			if got := heard(); got != want {
				t.Errorf("on %s it was told %q, want %q", name, got, want)
			}
		}
		stop()
		if got := heard(); got != "STOPPING=1" {
			t.Errorf("on %s it was told %q at the end", name, got)
		}
	}
}

func TestWithoutASupervisorNobodyIsTold(t *testing.T) {
	t.Setenv("NOTIFY_SOCKET", "")
	if err := newSupervisor().serving(); err != nil {
		t.Error(err)
	}
}
