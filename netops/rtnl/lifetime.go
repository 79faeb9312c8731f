package rtnl

import "time"

// Shortened is what is left of an address's lifetime (struct ifa_cacheinfo) after some seconds.
func Shortened(cacheinfo []byte, passed uint32) (left []byte, any bool) {
	if len(cacheinfo) < 8 {
		return cacheinfo, true
	}
	left = append(left, cacheinfo...)
	for i, field := range [...]int{0, 4} { // preferred, valid
		is := native.Uint32(left[field:])
		switch {
		case is == forever:
		case is > passed:
			native.PutUint32(left[field:], is-passed)
		case i == 0:
			native.PutUint32(left[field:], 0)
		default:
			return nil, false
		}
	}
	return left, true
}

// forever is a lifetime without an end (RFC 4861, section 4.6.2).
const forever = 1<<32 - 1

// Ends reports whether an address's lifetime is bounded: a program has to renew it, as a DHCP client does.
func (a *Address) Ends() bool {
	return len(a.Lifetime) >= 8 && native.Uint32(a.Lifetime[4:]) != forever
}

// Left is how long an address whose lifetime is bounded is valid yet.
func (a *Address) Left() time.Duration {
	return time.Duration(native.Uint32(a.Lifetime[4:])) * time.Second
}
