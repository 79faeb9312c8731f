package main

import (
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
	"time"
)

func TestWhatMakesNoSenseIsRefusedByWords(t *testing.T) {
	for args, words := range map[string]string{
		"5m":                                 `"5m" is no flag`,
		"-fencing both":                      "want strict or evidence",
		"-mode switched":                     "want one of flat, routed",
		"-build broken_wait -mode routed":    "has its own",
		"-duration 0s":                       "want more than none",
		"-duration -1m":                      "want more than none",
		"-without clocks":                    `no kind "clocks"`,
		"-build broken_everything":           "want one of broken_epoch",
		"-profile x":                         "want one of broken_epoch",
		"-build broken_wait -profile x":      "want one of them",
		"-build broken_wait -seed 7":         "has its own",
		"-profile broken_wait -fencing none": "want strict or evidence",
		"-seed x":                            "invalid value",
	} {
		if _, err := parse(strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("%q: %v: want an error that says %q", args, err, words)
		}
	}
	var help strings.Builder
	if _, err := parse([]string{"-help"}, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "-profile name") {
		t.Errorf("-help says %q, error %v", help.String(), err)
	}
}

func TestARunIsWhatItIsAskedToBe(t *testing.T) {
	r, err := parse(strings.Fields("-seed 7 -duration 3m -fencing strict -without restore"), io.Discard)
	if err != nil || r.Seed != 7 || r.Duration != 3*time.Minute || !r.Strict || len(r.Kinds) != 13 {
		t.Errorf("it is %+v, error %v", r, err)
	}
	if r, err = parse(strings.Fields("-mode routed"), io.Discard); err != nil || r.Mode.Name != "routed" {
		t.Errorf("it is %+v, error %v", r, err)
	}
	if r, err = parse(strings.Fields("-build broken_routes"), io.Discard); err != nil || r.Mode.Name != "routed" {
		t.Errorf("it is %+v, error %v", r, err)
	}
	r, err = parse(strings.Fields("-build broken_wait"), io.Discard)
	if err != nil || r.Focus == nil || r.Focus.Name != "broken_wait" || r.build != "broken_wait" || !r.Strict {
		t.Errorf("it is %+v, error %v", r, err)
	}
	if r, err = parse(nil, io.Discard); err != nil || r.Mode.Name != "flat" || r.Seed == 0 || r.Focus != nil || r.build != "" {
		t.Errorf("it is %+v, error %v", r, err)
	}
}
