package main

import (
	"fmt"
	"os"

	"github.com/containernetworking/cni/pkg/types"
	"github.com/containernetworking/cni/pkg/utils"

	"github.com/berth-ipam/berth/internal/ifname"
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
		{"CNI_IFNAME", newInterface},
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

// newInterface refuses what no interface can be called. DEL is not asked: it has to take back whatever was once made.
func newInterface(name string) *types.Error {
	if os.Getenv("CNI_COMMAND") == "DEL" {
		return nil
	}
	if err := ifname.Validate("the interface", name); err != nil {
		return types.NewError(types.ErrInvalidEnvironmentVariables, "no interface can have this name", err.Error())
	}
	return nil
}
