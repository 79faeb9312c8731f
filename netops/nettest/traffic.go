package nettest

import (
	"net"
	"net/netip"
	"testing"
	"time"
)

// Hears reports whether a datagram from one namespace arrives at an address of another within the time.
func Hears(t testing.TB, from, to Space, at netip.Addr, within time.Duration) bool {
	t.Helper()
	_, ok := Arrival(t, from, to, at, within)
	return ok
}

// Arrival sends datagrams to an address of another namespace, until one arrives or the time is over, and tells by
// which source address it came.
func Arrival(t testing.TB, from, to Space, at netip.Addr, within time.Duration) (source netip.Addr, ok bool) {
	t.Helper()
	var server, client *net.UDPConn
	to.Do(func() (err error) {
		server, err = net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0)))
		return err
	})
	defer server.Close()
	from.Do(func() (err error) {
		client, err = net.DialUDP("udp", nil, server.LocalAddr().(*net.UDPAddr))
		return err
	})
	defer client.Close()
	Must(t, server.SetReadDeadline(time.Now().Add(within)))
	arrived := make(chan netip.Addr, 1)
	go func() {
		_, peer, _ := server.ReadFromUDPAddrPort(make([]byte, 16))
		arrived <- peer.Addr().Unmap()
	}()
	for {
		_, _ = client.Write([]byte("hello"))
		select {
		case source := <-arrived:
			return source, source.IsValid()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

const (
	Patience = time.Minute            // for what is to arrive
	Silence  = 200 * time.Millisecond // for what is not
)

// Answers asks over a connected socket until an answer comes or the time is over, and reports whether one has come.
func Answers(t testing.TB, client *net.UDPConn, within time.Duration) bool {
	t.Helper()
	const pause = 20 * time.Millisecond
	for deadline := time.Now().Add(within); time.Now().Before(deadline); {
		_, _ = client.Write([]byte("hello")) // an error tells of an earlier one that was refused
		Must(t, client.SetReadDeadline(time.Now().Add(pause)))
		if _, err := client.Read(make([]byte, 16)); err == nil {
			return true
		}
	}
	return false
}
