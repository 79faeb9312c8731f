package main

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/berth-ipam/berth/allocator"
	"github.com/berth-ipam/berth/lease/record"
)

// listenAddress reads the value of --listen. An IPv6 address may be without brackets, because a template that fills in a
// node's address does not know its family: the port is what follows the last colon.
func listenAddress(word string) (string, error) {
	if word == "" {
		return "", nil
	}
	refuse := func(why string) (string, error) {
		return "", fmt.Errorf("--listen %q: %s: want HOST:PORT, such as 127.0.0.1:9473, [::1]:9473 or :9473", word, why)
	}
	at := strings.LastIndexByte(word, ':')
	if at < 0 {
		return refuse("it has no port")
	}
	host, port := word[:at], word[at+1:]
	if n, err := strconv.ParseUint(port, 10, 16); err != nil || port != strconv.FormatUint(n, 10) {
		return refuse(fmt.Sprintf("port %q is no number from 0 to 65535", port))
	}
	bare, bracketed := strings.CutPrefix(host, "[")
	if bracketed {
		var closed bool
		if bare, closed = strings.CutSuffix(bare, "]"); !closed {
			return refuse("its bracket is not closed")
		}
	}
	ip, err := netip.ParseAddr(bare)
	switch {
	case err != nil && (bracketed || strings.ContainsAny(bare, ":[]")):
		return refuse(fmt.Sprintf("%q is no IPv6 address", bare))
	case err == nil && bracketed && ip.Is4():
		return refuse("brackets are for IPv6 addresses")
	case strings.ContainsFunc(bare, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '/' }):
		return refuse("its host is none")
	}
	return net.JoinHostPort(bare, port), nil
}

// nodeAddresses reads the value of --node-address: a host's name, which is only shown, or addresses. Those by which other nodes cannot
// reach this one, such as 127.0.0.1, are only shown, too.
func nodeAddresses(words string) (hops []netip.Addr, err error) {
	if words == "" || !digits.MatchString(words) && allocator.ValidName("", words) == nil {
		return nil, nil
	}
	for word := range strings.SplitSeq(words, ",") {
		ip, err := netip.ParseAddr(word)
		if err != nil || strings.Contains(word, "%") {
			return nil, fmt.Errorf("--node-address %q: want an IP address such as 192.0.2.11, or a host's name", word)
		}
		if record.ValidHops("", []netip.Addr{ip}) == nil {
			hops = append(hops, ip)
		}
	}
	return hops, record.ValidHops("--node-address", hops)
}

// digits matches what looks like an IPv4 address: it is one, or mistyped.
var digits = regexp.MustCompile(`^[0-9.]+$`)
