package rtnl

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"
)

// An alias of the kernel's has 255 bytes, and the words that say whose a port is may need more. Then the link's alias is their
// hash and their length, and the link has alternative names (ip-link(8), "altname", since Linux 5.5) which hold the words,
// piece by piece. Words that do not have that hash are no words: a port is never taken for another's.

const (
	MaxAlias   = 255 // bytes of an alias: the kernel's IFALIASZ, less its end
	MaxWords   = 4096
	maxAltName = 127 // bytes of an alternative name: the kernel's ALTIFNAMSIZ, less its end
	longPrefix = "berth in altnames "
)

// ShortAlias is what a link's alias is for the words.
func ShortAlias(words string) string {
	if len(words) <= MaxAlias {
		return words
	}
	sum := sha256.Sum256([]byte(words))
	return fmt.Sprintf("%s%d %s", longPrefix, len(words), hex.EncodeToString(sum[:]))
}

// AltNames are those that hold the words of a port; none: its alias does.
func AltNames(port, words string) (names []string) {
	if len(words) <= MaxAlias {
		return nil
	}
	text := base64.RawURLEncoding.EncodeToString([]byte(words))
	for piece := range slices.Chunk([]byte(text), maxAltName-len(altName(port, 1000))) {
		names = append(names, altName(port, len(names))+string(piece))
	}
	return names
}

// altName is the beginning of an alternative name, which tells the pieces of one port from those of all others.
func altName(port string, piece int) string { return fmt.Sprintf("%s.%d.", port, piece) }

// Words are those of a link: its alias, or what its alternative names hold. Where they do not have the hash that the alias
// names, only the alias is told, which says nothing.
func (l *Link) Words() string {
	rest, long := strings.CutPrefix(l.Alias, longPrefix)
	if !long {
		return l.Alias
	}
	length, sum, _ := strings.Cut(rest, " ")
	var text strings.Builder
	for i := range len(l.altNames) {
		prefix := altName(l.Name, i)
		for _, name := range l.altNames {
			if piece, is := strings.CutPrefix(name, prefix); is {
				text.WriteString(piece)
			}
		}
	}
	words, err := base64.RawURLEncoding.DecodeString(text.String())
	if found := sha256.Sum256(words); err != nil || hex.EncodeToString(found[:]) != sum || strconv.Itoa(len(words)) != length {
		return l.Alias
	}
	return string(words)
}

// NameAlternatively asks for a link's alternative names.
func NameAlternatively(port string, names []string) Request {
	return aboutAltNames(unix.RTM_NEWLINKPROP, unix.NLM_F_CREATE|unix.NLM_F_EXCL|unix.NLM_F_APPEND, "set", port, names)
}

// Rewrite asks for other words of a link that has their alias already.
func Rewrite(l *Link, words string) (requests []Request) {
	others := func(name string) bool { return !strings.HasPrefix(name, l.Name+".") }
	if former := slices.DeleteFunc(slices.Clone(l.altNames), others); len(former) > 0 {
		requests = append(requests, aboutAltNames(unix.RTM_DELLINKPROP, 0, "remove", l.Name, former))
	}
	if names := AltNames(l.Name, words); len(names) > 0 {
		requests = append(requests, NameAlternatively(l.Name, names))
	}
	return requests
}

func aboutAltNames(kind, flags int, verb, port string, names []string) Request {
	var all []*nl.RtAttr
	for _, name := range names {
		all = append(all, textAttr(unix.IFLA_ALT_IFNAME, name))
	}
	return ask(kind, flags, verb+" alternative names of "+port, ifInfo(0, 0), textAttr(unix.IFLA_IFNAME, port),
		nested(unix.IFLA_PROP_LIST|unix.NLA_F_NESTED, all...))
}
