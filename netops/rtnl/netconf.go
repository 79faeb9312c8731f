package rtnl

// StopsForwarding reads the body of RTM_NEWNETCONF (rtnetlink(7)): a link, or the host, forwards no more.
func StopsForwarding(body []byte) bool {
	const sizeofHeader, forwarding = 4, 2 // struct netconfmsg; NETCONFA_FORWARDING
	if len(body) < sizeofHeader {
		return false
	}
	for kind, value := range Attributes(body[sizeofHeader:]) {
		if kind == forwarding {
			return number(value) == 0
		}
	}
	return false
}
