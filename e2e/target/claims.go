// Package target is what the targets share that are no part of `make test`: claims that are told as they are checked, and a cache
// outside of the tree for what they build.
package target

import "fmt"

// Claims counts what was claimed, and what of it was so.
type Claims struct{ made, held int }

// About tells one story. Its error is a claim that does not hold.
func (c *Claims) About(what string, story func() error) {
	fmt.Printf("\n%s\n", what)
	if err := story(); err != nil {
		c.Check("it goes on to its end", err)
	}
}

// Check says whether a claim holds.
func (c *Claims) Check(claim string, err error) {
	c.made++
	if err != nil {
		fmt.Printf("   FAIL %s: %v\n", claim, err)
		return
	}
	c.held++
	fmt.Printf("   ok   %s\n", claim)
}

// Sum says how many claims hold. It is an error if one does not, and if none was made.
func (c *Claims) Sum() error {
	fmt.Printf("\n%d of %d claims hold\n", c.held, c.made)
	if c.made == 0 {
		return fmt.Errorf("no claim was made: nothing has the name that was asked for")
	}
	if c.held < c.made {
		return fmt.Errorf("%d claims do not hold", c.made-c.held)
	}
	return nil
}
