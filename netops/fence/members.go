package fence

import (
	"bytes"
	"fmt"
	"maps"
	"slices"

	"github.com/google/nftables"
)

// readMembers lists the ports that the kernel has in each class, in either table. Agree says whether both tables have the same ones:
// a release before the second table has left them in the first alone.
func (c *connection) readMembers() (members map[string]string, agree bool, err error) {
	var held [len(tables)]map[string]string
	err = c.commit(func(conn *nftables.Conn) error {
		for i, table := range tables {
			held[i] = map[string]string{}
			for _, class := range classes {
				elements, err := conn.GetSetElements(in(table, classSets[class]))
				if err != nil {
					return fmt.Errorf("set %s: %w", class, err)
				}
				for _, e := range elements {
					held[i][string(bytes.TrimRight(e.Key, "\x00"))] = class
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, false, err
	}
	agree = maps.Equal(held[0], held[1])
	members = held[1]
	maps.Copy(members, held[0])
	return members, agree, nil
}

// elementsPerMessage keeps a message's list of elements below the 64 KiB that an attribute can hold.
const elementsPerMessage = 1000

// rewriteMembers asks for exactly these members.
func rewriteMembers(c *nftables.Conn, members map[string]string) error {
	for _, class := range classes {
		clearSet(c, classSets[class])
		for chunk := range slices.Chunk(elementsOf(members, class), elementsPerMessage) {
			if err := add(c, classSets[class], chunk); err != nil {
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
