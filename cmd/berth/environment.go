package main

import (
	"fmt"
	"os"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/utils"
)

// checkEnvironment checks what skel would, in words that name the variable as the specification demands of code 4.
// What is missing is skel's to say.
func checkEnvironment() *types.Error {
	switch os.Getenv("CNI_COMMAND") {
	case "ADD", "DEL", "CHECK":
	default:
		return nil
	}
	for _, v := range []struct {
		name  string
		valid func(string) *types.Error
	}{
		{"CNI_CONTAINERID", utils.ValidateContainerID},
		{"CNI_IFNAME", utils.ValidateInterfaceName},
	} {
		value := os.Getenv(v.name)
		if value == "" {
			continue
		}
		if err := v.valid(value); err != nil {
			return types.NewError(err.Code, fmt.Sprintf("%s %q: %s", v.name, value, err.Msg), err.Details)
		}
	}
	return nil
}
