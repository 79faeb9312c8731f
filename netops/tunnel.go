package netops

// tunnels are the names of the VXLAN devices, by whether their outer packets are IPv4's.
var tunnels = map[bool]string{true: "berth-vx4", false: "berth-vx6"}

// isTunnel reports whether a link is called as our VXLAN devices are.
func isTunnel(name string) bool { return name == tunnels[true] || name == tunnels[false] }
