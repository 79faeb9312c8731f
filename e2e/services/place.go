package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/berth-ipam/berth/internal/sandbox"
)

// port is where every place answers.
const port = 8080

// A place is where somebody asks and answers: a container, a node's host, or a machine outside of the cluster.
type place struct {
	name      string
	netns     string
	addresses []netip.Addr
}

// of is its address of a family.
func (p *place) of(v6 bool) netip.Addr {
	for _, a := range p.addresses {
		if a.Is6() == v6 {
			return a
		}
	}
	return netip.Addr{}
}

// serve has it answer on its port with its name and who has asked, until the listener is closed.
func (p *place) serve() (listener net.Listener, err error) {
	err = sandbox.Within(p.netns, func() (err error) {
		listener, err = net.Listen("tcp", fmt.Sprintf(":%d", port))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("%s answers nobody: %w", p.name, err)
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			who, _ := netip.ParseAddrPort(conn.RemoteAddr().String())
			_, _ = fmt.Fprintf(conn, "%s %s", p.name, who.Addr().Unmap().WithZone(""))
			conn.Close()
		}
	}()
	return listener, nil
}

// ask asks at an address, and gives who answers and whom that one takes for asking.
func (p *place) ask(ctx context.Context, at netip.AddrPort) (who string, seen netip.Addr, err error) {
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	var conn net.Conn
	err = sandbox.Within(p.netns, func() (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "tcp", at.String())
		return err
	})
	if err != nil {
		return "", seen, err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	answer, err := io.ReadAll(conn)
	if err != nil {
		return "", seen, err
	}
	who, address, _ := strings.Cut(string(answer), " ")
	seen, err = netip.ParseAddr(address)
	return who, seen, err
}
