package kernel

import (
	"context"
	"errors"
	"os"

	"github.com/berth-ipam/berth/netops/echo"
)

// errEchoes says what the model does not have: simulated operators ask for no check of the network.
var errEchoes = errors.New("the simulated kernel has no echoes")

// NewNamespace makes a namespace of the agent's own: the model has none such.
func (k *Kernel) NewNamespace() (*os.File, error) { return nil, errEchoes }

// Echo asks for an echo: the model has none.
func (k *Kernel) Echo(context.Context, echo.Request) error { return errEchoes }
