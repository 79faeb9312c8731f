package broken

// In routes a host's routes do not follow a member that moves from one other node to another: only when all are compared with the kernel's
// they do.
var routes = Build{Name: "broken_routes", Routed: true, Changes: []Change{{
	File: "agent/routes/known.go",
	Old: `	case holder != nil && holder.Node != w.me:
		h.holders[a] = unique.Make(holder.Node)
	case had:
		delete(h.holders, a)
	default:
`,
	New: `	case holder != nil && holder.Node != w.me && !had:
		h.holders[a] = unique.Make(holder.Node)
	case holder != nil && holder.Node != w.me:
		h.holders[a] = unique.Make(holder.Node)
		return
	default:
`,
}}}
