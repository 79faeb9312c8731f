package fence

import "github.com/google/nftables"

// TableName is the name of all of Berth's tables.
const TableName = "berth"

// Families are the families of Berth's tables, with their names.
var Families = map[nftables.TableFamily]string{
	nftables.TableFamilyBridge: "bridge",
	nftables.TableFamilyINet:   "inet",
	nftables.TableFamilyIPv4:   "ip",
	nftables.TableFamilyIPv6:   "ip6",
}
