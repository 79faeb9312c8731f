package fence

import (
	"github.com/google/nftables"
	"golang.org/x/sys/unix"
)

// PortPrefix begins the name of every link that the table is about: its frames are dropped unless it is in a class.
const PortPrefix = "bth"

// The traffic classes, by the names of their sets. A port in neither is cut.
var classes = [...]string{"stateless", "stateful"}

var (
	filterTable = &nftables.Table{Name: "berth", Family: nftables.TableFamilyBridge}
	classSets   = map[string]*nftables.Set{}
)

// slots is how many ways each class has through the fence. Two: while one is armed for the next proof, traffic passes
// through the other.
const slots = 2

// A slot is open while both sets hold its key: in timers, until the kernel itself takes it out, and in locks.
var (
	timers = &nftables.Set{
		Table: filterTable, Name: "timers", KeyType: nftables.TypeInteger, ID: 11, Size: 16, HasTimeout: true,
	}
	locks = &nftables.Set{Table: filterTable, Name: "locks", KeyType: nftables.TypeInteger, ID: 12, Size: 16}
)

// maxMembers bounds a class. With a bound the kernel makes a set of a fixed size; one that grows is listed with gaps
// while it does.
const maxMembers = 1 << 15

func init() {
	for i, class := range classes {
		// The library numbers sets by a counter that is not safe for concurrent use.
		classSets[class] = &nftables.Set{
			Table: filterTable, Name: class, KeyType: nftables.TypeIFName, ID: uint32(i + 1), Size: maxMembers,
		}
	}
}

func slotKey(class, slot int) []byte { return []byte{0, 0, 0, byte(class*slots + slot)} }

// element is a port as its class's set holds it.
func element(port string) []nftables.SetElement {
	name := make([]byte, unix.IFNAMSIZ)
	copy(name, port)
	return []nftables.SetElement{{Key: name}}
}
