package fence

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/google/nftables"
)

// readMembers lists the ports that the kernel has in each class.
func (c *connection) readMembers() (map[string]string, error) {
	members := map[string]string{}
	err := c.commit(func(conn *nftables.Conn) error {
		for _, class := range classes {
			elements, err := conn.GetSetElements(classSets[class])
			if err != nil {
				return fmt.Errorf("set %s: %w", class, err)
			}
			for _, e := range elements {
				members[string(bytes.TrimRight(e.Key, "\x00"))] = class
			}
		}
		return nil
	})
	return members, err
}

// elementsPerMessage keeps a message's list of elements below the 64 KiB that an attribute can hold.
const elementsPerMessage = 1000

// rewriteMembers asks for exactly these members.
func rewriteMembers(c *nftables.Conn, members map[string]string) error {
	for _, class := range classes {
		c.FlushSet(classSets[class])
		for chunk := range slices.Chunk(elementsOf(members, class), elementsPerMessage) {
			if err := c.SetAddElements(classSets[class], chunk); err != nil {
				return err
			}
		}
	}
	return nil
}

func elementsOf(members map[string]string, class string) (all []nftables.SetElement) {
	for port, of := range members {
		if of == class {
			all = append(all, element(port)...)
		}
	}
	return all
}
