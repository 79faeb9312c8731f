// Command overlay writes, below the directory that it is given, changed sources of Go's runtime, and prints the file that
// go build -overlay wants: see package order. Where this release of Go has another runtime than the table of changes expects it
// says so and prints nothing: programs are then built as ever, and their runs are not exact.
package main

import (
	"fmt"
	"os"
	"os/exec"
	"strings"

	"github.com/berth-ipam/berth/e2e/sim/order/changes"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "overlay: want one argument, a directory to write into")
		os.Exit(2)
	}
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		fmt.Fprintln(os.Stderr, "overlay: ask go where its sources are:", err)
		os.Exit(1)
	}
	file, err := changes.Write(os.Args[1], strings.TrimSpace(string(root)))
	if err != nil {
		fmt.Fprintln(os.Stderr, "overlay: runs of one seed will differ in what happens in one instant:", err)
		return
	}
	fmt.Println(file)
}
