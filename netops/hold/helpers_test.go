package hold

import (
	"testing"

	"github.com/berth-ipam/berth/netops/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

type space = nettest.Space

var newSpace, must = nettest.NewSpace, nettest.Must
