package main

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"os"
)

const (
	image   = "localhost/berth/busybox:1"
	page    = "this is a container of Berth's"
	inImage = 8080 // the port that its web server listens on
)

// server is the command of a container that serves page.
var server = []string{"/bin/busybox", "httpd", "-f", "-p", fmt.Sprint(inImage), "-h", "/www"}

// writeImage writes a docker archive with busybox, which waits for its end unless it is told otherwise.
func writeImage(path, busybox string) error {
	program, err := os.ReadFile(busybox)
	if err != nil {
		return err
	}
	layer := archive(
		file{"bin/busybox", 0o755, program}, file{"www/index.html", 0o644, []byte(page)},
		file{"etc/passwd", 0o644, []byte("root:x:0:0:root:/root:/bin/sh\n")}, file{"etc/group", 0o644, []byte("root:x:0:\n")},
	)
	digest := fmt.Sprintf("%x", sha256.Sum256(layer))
	config := marshal(map[string]any{
		"architecture": "amd64", "os": "linux", "created": "2026-01-01T00:00:00Z",
		"config": map[string]any{"Entrypoint": []string{"/bin/busybox", "sleep", "1000000"}, "Env": []string{"PATH=/bin"}, "WorkingDir": "/"},
		"rootfs": map[string]any{"type": "layers", "diff_ids": []string{"sha256:" + digest}},
	})
	name := fmt.Sprintf("%x.json", sha256.Sum256(config))
	manifest := marshal([]any{map[string]any{"Config": name, "RepoTags": []string{image}, "Layers": []string{digest + "/layer.tar"}}})
	return os.WriteFile(path, archive(file{name, 0o644, config}, file{digest + "/layer.tar", 0o644, layer},
		file{"manifest.json", 0o644, manifest}), 0o644)
}

type file struct {
	name string
	mode int64
	data []byte
}

func archive(files ...file) []byte {
	var out bytes.Buffer
	w := tar.NewWriter(&out)
	for _, f := range files {
		must(w.WriteHeader(&tar.Header{Name: f.name, Mode: f.mode, Size: int64(len(f.data)), Typeflag: tar.TypeReg}))
		_, err := w.Write(f.data)
		must(err)
	}
	must(w.Close())
	return out.Bytes()
}

func marshal(value any) []byte {
	text, err := json.Marshal(value)
	must(err)
	return text
}

// must is for what cannot fail: writing to memory.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
