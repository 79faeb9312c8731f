package wire

import (
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// The frames of the first release, with every field set: a plugin and an agent of different releases understand each other.
func TestTheFramesOfTheFormerReleaseAreReadAndWrittenAsTheyWere(t *testing.T) {
	text, err := os.ReadFile("testdata/former-frames.txt")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for line := range strings.Lines(string(text)) {
		name, frame, _ := strings.Cut(strings.TrimSpace(line), " ")
		message := map[string]any{"Request": new(Request), "Response": new(Response), "Note": new(Note)}[name]
		strict := json.NewDecoder(strings.NewReader(frame))
		strict.DisallowUnknownFields()
		if err := strict.Decode(message); err != nil {
			t.Errorf("a %s is not read: %v", name, err)
			continue
		}
		again, err := json.Marshal(message)
		if err != nil || !bytes.Equal(again, []byte(frame)) {
			t.Errorf("a %s was written as\n%s\nand is now\n%s\n%v", name, frame, again, err)
		}
		seen++
	}
	if seen != 3 {
		t.Errorf("%d messages are in testdata: want 3", seen)
	}
}
