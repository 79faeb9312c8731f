package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"unsafe"
)

// A progress shows, beside the data, how far something has come: as a bar on a terminal, elsewhere as a line for each
// change.
type progress struct {
	w        io.Writer
	terminal bool
	columns  int // of the terminal; 0: it does not say
	shown    string
}

func (c *ctl) progress() *progress {
	columns, terminal := terminalOf(c.diagnostics)
	return &progress{w: c.diagnostics, terminal: terminal, columns: columns}
}

const barWidth = 20 // columns

// show says that done of total are so far; words say what they are, or have.
func (p *progress) show(done, total int, words string) {
	line := fmt.Sprintf("%d of %d %s", done, total, words)
	if line == p.shown {
		return
	}
	p.shown = line
	if !p.terminal {
		fmt.Fprintln(p.w, line)
		return
	}
	full := barWidth
	if total > 0 {
		full = barWidth * done / total
	}
	bar := fmt.Sprintf("[%s%s] %s", strings.Repeat("#", full), strings.Repeat(".", barWidth-full), line)
	if p.columns > 0 && len(bar) >= p.columns {
		bar = bar[:p.columns-1] // what goes on in a second line could not be taken back
	}
	fmt.Fprint(p.w, "\r\x1b[K", bar)
}

// end leaves the bar behind.
func (p *progress) end() {
	if p.terminal && p.shown != "" {
		fmt.Fprintln(p.w)
	}
}

// terminalOf asks for what only a terminal has: its size (TIOCGWINSZ, ioctl_tty(2)).
func terminalOf(w io.Writer) (columns int, ok bool) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, false
	}
	var size struct{ rows, columns, x, y uint16 }
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), syscall.TIOCGWINSZ, uintptr(unsafe.Pointer(&size)))
	return int(size.columns), errno == 0
}
