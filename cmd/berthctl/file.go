package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// mostInput bounds what is read of a file. 10,000 pools take a fifth of it.
const mostInput = 16 << 20

// input reads a file, or with "-" the standard input, and says what faults of it are to be named after.
func (c *ctl) input(ctx context.Context, file string) (name string, data []byte, err error) {
	switch file {
	case "":
		return "", nil, usageError{errors.New("--file is empty: want the path of a file, or - for the standard input")}
	case "-":
		name = "standard input"
		data, err = readAll(ctx, c.in)
	default:
		name = file
		data, err = readAll(ctx, &lateFile{path: file})
	}
	if path, named := errors.AsType[*fs.PathError](err); err != nil && !(named && path.Path == name) {
		err = fmt.Errorf("read %s: %w", name, err)
	}
	return name, data, err
}

// A lateFile is opened at the first read, since opening a pipe waits for who writes into it.
type lateFile struct {
	path string
	file *os.File
}

func (l *lateFile) Read(p []byte) (n int, err error) {
	if l.file == nil {
		if l.file, err = os.Open(l.path); err != nil {
			return 0, err
		}
	}
	if n, err = l.file.Read(p); err != nil {
		l.file.Close()
	}
	return n, err
}

// readAll reads in to its end, or until ctx ends: somebody may have nothing to type after all.
func readAll(ctx context.Context, in io.Reader) ([]byte, error) {
	var data []byte
	done := make(chan error, 1)
	go func() {
		var err error
		data, err = io.ReadAll(io.LimitReader(in, mostInput+1))
		done <- err
	}()
	select {
	case err := <-done:
		if len(data) > mostInput {
			return nil, fmt.Errorf("it has more than %d MiB: want a configuration, or a set of containers", mostInput>>20)
		}
		return data, err
	case <-ctx.Done():
		return nil, errors.New("interrupted: nothing was done")
	}
}
