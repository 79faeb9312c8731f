package netops

import (
	"testing"

	"github.com/berth-ipam/berth/netops/nettest"
)

func TestMain(m *testing.M) { nettest.Main(m) }

type space = nettest.Space

var (
	newSpace, newSwitch, cable = nettest.NewSpace, nettest.NewSwitch, nettest.Cable
	must, mentions, eventually = nettest.Must, nettest.Mentions, nettest.Eventually
	prefixes, hears, arrival   = nettest.Prefixes, nettest.Hears, nettest.Arrival
)

const patience, silence = nettest.Patience, nettest.Silence
