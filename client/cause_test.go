package client

import (
	"errors"
	"strings"
	"syscall"
	"testing"
)

func TestACallThatCannotBeMadeKeepsItsCause(t *testing.T) {
	tooLong := "/run/" + strings.Repeat("berth", 100) + ".sock" // unix(7) allows 108 bytes
	_, err := New(tooLong).Delete(t.Context(), []Container{{ID: "c1"}}, DeleteOptions{})
	if e, ok := errors.AsType[*Error](err); !ok || e.Code != 5 || !errors.Is(err, syscall.EINVAL) {
		t.Errorf("error %v: want one of code 5 whose cause is %v", err, syscall.EINVAL)
	}
}
