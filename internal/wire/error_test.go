package wire

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"syscall"
	"testing"
)

func TestAnErrorKeepsItsCauseOnThisSideOfTheSocket(t *testing.T) {
	cause := fmt.Errorf("write the journal: %w", syscall.ENOSPC)
	made := Errorf(CodeTryAgain, "container %q: %w", "c1", cause)
	if !errors.Is(made, syscall.ENOSPC) || !errors.Is(fmt.Errorf("insert: %w", made), syscall.ENOSPC) {
		t.Errorf("%v has lost its cause", made)
	}
	if got, want := made.Error(), `container "c1": write the journal: no space left on device`; got != want {
		t.Errorf("the error says %q: want %q", got, want)
	}
	if two := Errorf(CodeIO, "%w, and %w", syscall.ENOENT, syscall.EACCES); !errors.Is(two, fs.ErrNotExist) ||
		!errors.Is(two, fs.ErrPermission) {
		t.Errorf("%v has lost one of its causes", two)
	}
	if foreign := AsError(cause); foreign.Code != CodeInternal || !errors.Is(foreign, syscall.ENOSPC) {
		t.Errorf("AsError makes %+v of an error that is none of the protocol's: want code %d with its cause", foreign, CodeInternal)
	}
}

func TestTheSocketCarriesNothingOfACause(t *testing.T) {
	text, err := json.Marshal(&Response{Version: Version, Error: Errorf(CodeIO, "read: %w", syscall.EIO)})
	if err != nil {
		t.Fatal(err)
	}
	plain, err := json.Marshal(&Response{Version: Version, Error: &Error{Code: CodeIO, Message: "read: input/output error"}})
	if err != nil {
		t.Fatal(err)
	}
	if string(text) != string(plain) {
		t.Errorf("the frame is %s: want %s", text, plain)
	}
	var received Response
	if err := json.Unmarshal(text, &received); err != nil || received.Error.Unwrap() != nil {
		t.Errorf("an error that came over the socket has the cause %v, %v: want none", received.Error.Unwrap(), err)
	}
}

func TestTheCodeIsTheOutermostOne(t *testing.T) {
	inner := Errorf(CodeConfig, "no such pool")
	if got := AsError(fmt.Errorf("insert: %w", Errorf(CodeTryAgain, "not now: %w", inner))); got.Code != CodeTryAgain {
		t.Errorf("the code is %d: want %d, of the error that was made last", got.Code, CodeTryAgain)
	}
}
