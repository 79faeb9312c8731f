package fence

import "github.com/google/nftables"

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

// What the members of classes may send: elements of a port's name, a MAC and, for the families, an address. A trusted port needs
// none.
var (
	trusted   = &nftables.Set{Table: filterTable, Name: "trusted", KeyType: nftables.TypeIFName, ID: 21, Size: maxMembers}
	senders   = sendersSet(23, "senders", maxMembers)
	sendersV4 = sendersSet(24, "senders4", maxMembers, nftables.TypeIPAddr)
	sendersV6 = sendersSet(25, "senders6", 2*maxMembers, nftables.TypeIP6Addr) // the link-local address, and the pool's
)

// Isolated ports, and what concerns them: pairs of an isolated member's address and the same one, each with its port as a comment; and the
// addresses that isolated ports exchange nothing with. Those of family inet have the members on bridges, too, since the host forwards
// for them.
var (
	isolated = &nftables.Set{Table: filterTable, Name: "isolated", KeyType: nftables.TypeIFName, ID: 26, Size: maxMembers}
	selvesV4 = selvesSet(27, "selves4", nftables.TypeIPAddr)
	selvesV6 = selvesSet(28, "selves6", nftables.TypeIP6Addr)
	apartV4  = &nftables.Set{Table: filterTable, Name: "apart4", KeyType: nftables.TypeIPAddr, ID: 29, Interval: true}
	apartV6  = &nftables.Set{Table: filterTable, Name: "apart6", KeyType: nftables.TypeIP6Addr, ID: 30, Interval: true}
)

func selvesSet(id uint32, name string, address nftables.SetDatatype) *nftables.Set {
	return &nftables.Set{
		Table: filterTable, Name: name, KeyType: nftables.MustConcatSetType(address, address), ID: id, Size: maxMembers, Concatenation: true,
	}
}

func sendersSet(id uint32, name string, size uint32, address ...nftables.SetDatatype) *nftables.Set {
	parts := append([]nftables.SetDatatype{nftables.TypeIFName, nftables.TypeEtherAddr}, address...)
	return &nftables.Set{
		Table: filterTable, Name: name, KeyType: nftables.MustConcatSetType(parts...), ID: id, Size: size, Concatenation: true,
	}
}

// memberSets are all that hold elements of members.
func memberSets() []*nftables.Set {
	all := []*nftables.Set{senders, sendersV4, sendersV6}
	for _, set := range [...]*nftables.Set{trusted, isolated, selvesV4, selvesV6, classSets[classes[0]], classSets[classes[1]]} {
		all = append(all, set, twins[set])
	}
	return all
}

func init() {
	for i, class := range classes {
		// The library numbers sets by a counter that is not safe for concurrent use.
		classSets[class] = &nftables.Set{
			Table: filterTable, Name: class, KeyType: nftables.TypeIFName, ID: uint32(i + 1), Size: maxMembers,
		}
		makeTwins(classSets[class])
	}
	makeTwins(trusted, isolated, selvesV4, selvesV6, apartV4, apartV6, timers, locks)
}

func slotKey(class, slot int) []byte { return []byte{0, 0, 0, byte(class*slots + slot)} }
