package broken

import (
	"fmt"
	"strings"

	"golang.org/x/tools/txtar"
)

// Parse reads a build from a text in the txtar format. What comes before the first file says what is broken. Each change is a file
// of the source, with the lines that are to be replaced, and after it a file "instead", with those that replace them.
func Parse(name string, text []byte) (b Build, says string, err error) {
	archive := txtar.Parse(text)
	b.Name = name
	for i := 0; i < len(archive.Files); i += 2 {
		if i+1 == len(archive.Files) || archive.Files[i+1].Name != "instead" || archive.Files[i].Name == "instead" {
			return b, "", fmt.Errorf("broken: read %s: file %q: want a file of the source and then one that is called instead", name,
				archive.Files[i].Name)
		}
		b.Changes = append(b.Changes, Change{
			File: archive.Files[i].Name, Old: string(archive.Files[i].Data), New: string(archive.Files[i+1].Data),
		})
	}
	if len(b.Changes) == 0 {
		return b, "", fmt.Errorf("broken: read %s: it changes nothing", name)
	}
	return b, strings.TrimSpace(string(archive.Comment)), nil
}
