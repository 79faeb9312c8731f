package netops

import "bytes"

// kernelsDevices is the group of the kernel's own news about devices; udev's are in another.
const kernelsDevices = 1

// isClone reads an event of a device: "change@<path>" and variables, each with a zero at its end.
func isClone(news []byte) bool {
	words := bytes.Split(news, []byte{0})
	if !bytes.HasPrefix(words[0], []byte("change@")) {
		return false
	}
	for _, w := range words[1:] {
		if string(w) == "NEW_VMGENID=1" {
			return true
		}
	}
	return false
}
