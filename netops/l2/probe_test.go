package l2

import (
	"testing"

	"github.com/berth-ipam/berth/netops/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }
