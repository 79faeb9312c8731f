package main

import (
	"fmt"

	"github.com/berth-ipam/berth/lease/kv"
)

// passedOver warns of a record that a list leaves out since it cannot be read, of each once.
func (c *ctl) passedOver(bad *kv.DamagedError) {
	if c.examines || c.damaged[bad.Key] {
		return
	}
	if c.damaged == nil {
		c.damaged = map[string]bool{}
	}
	c.damaged[bad.Key] = true
	fmt.Fprintf(c.diagnostics, "berthctl: warning: left out: %s: \"berthctl doctor\" says how to repair it\n", visible(inWords(bad)))
}
