package changes

import "github.com/berth-ipam/berth/internal/overlay"

var table = []overlay.Change{
	{ // hashes and the first numbers of all are the same in each process
		File: "runtime/rand.go",
		Old: `	globalRand.state.Init(*seed)
`,
		New: `	*seed = [32]byte{1}
	globalRand.state.Init(*seed)
`,
	},
	{ // math/rand, and the hashes of maps that the compiler makes
		File: "runtime/rand.go",
		Old: `	mp := getg().m
	c := &mp.chacha8
`,
		New: `	mp := getg().m
	if ordered(mp.curg) {
		return orderNext(mp.curg)
	}
	c := &mp.chacha8
`,
	},
	{ // where the iteration of a map begins, however many maps were made before it
		File: "runtime/rand.go",
		Old: `func maps_rand() uint64 {
`,
		New: `func maps_rand() uint64 {
	if ordered(getg()) {
		return orderSeed
	}
`,
	},
	{
		File: "runtime/select.go",
		Old: `		j := cheaprandn(uint32(norder + 1))
`,
		New: `		j := uint32(0)
		if ordered(gp) {
			j = uint32(orderTurn(gp) % uint64(norder+1))
		} else {
			j = cheaprandn(uint32(norder + 1))
		}
`,
	},
	{ // timers of one instant
		File: "runtime/time.go",
		Old: `			t.rand = cheaprand()
`,
		New: `			if gp := mp.curg; ordered(gp) {
				t.rand = uint32(orderBegun(gp))
			} else if orderOn {
				t.rand = 0
			} else {
				t.rand = cheaprand()
			}
`,
	},
	{ // whether who is woken or started runs next, or last
		File: "runtime/proc.go",
		Old: `	if randomizeScheduler && next && randn(2) == 0 {
`,
		New: `	if next && ordered(gp) && orderTurn(gp)&1 == 0 {
		next = false
	}
	if randomizeScheduler && next && randn(2) == 0 {
`,
	},
	{ // nothing is preempted
		File: "runtime/proc.go",
		Old: `		} else if pd.schedwhen+forcePreemptNS <= now {
`,
		New: `		} else if pd.schedwhen+orderSlice() <= now {
`,
	},
	{ // a system call keeps its processor
		File: "runtime/proc.go",
		Old: `		// Drop allpLock so we can take sched.lock.
		unlock(&allpLock)
`,
		New: `		if orderOn && !sysretake {
			continue
		}

		// Drop allpLock so we can take sched.lock.
		unlock(&allpLock)
`,
	},
	{ // the queue of all processors is not looked at in between
		File: "runtime/proc.go",
		Old: `	if pp.schedtick%61 == 0 && !sched.runq.empty() {
`,
		New: `	if !orderOn && pp.schedtick%61 == 0 && !sched.runq.empty() {
`,
	},
	{ // each goroutine has numbers of its own
		File: "runtime/proc.go",
		Old: `		newg.bubble = callergp.bubble
`,
		New: `		newg.bubble = callergp.bubble
		newg.orderDraws = orderOf(callergp)
		newg.orderTurns = orderMix(newg.orderDraws)
		newg.orderBegan = orderMix(newg.orderTurns)
`,
	},
	{
		File: "runtime/runtime2.go",
		Old: `	bubble  *synctestBubble
`,
		New: `	bubble  *synctestBubble
	orderDraws uint64
	orderTurns uint64
	orderBegan uint64
`,
	},
	{
		File: "runtime/synctest.go",
		Old: `	gp.bubble = bubble
`,
		New: `	gp.bubble = bubble
	gp.orderDraws, gp.orderTurns, gp.orderBegan = orderSeed, orderSeed, orderSeed
`,
	},
	{ // when a mutex's waiter starves
		File: "runtime/sema.go",
		Old: `func internal_sync_nanotime() int64 {
`,
		New: `func internal_sync_nanotime() int64 {
	if gp := getg(); ordered(gp) {
		return gp.bubble.now
	}
`,
	},
	{
		File: "context/context.go",
		Old:  `	children map[canceler]struct{}`,
		New: `	nth      uint64
	children map[canceler]uint64`,
	},
	{
		File: "context/context.go",
		Old:  `p.children = make(map[canceler]struct{})`,
		New:  `p.children = make(map[canceler]uint64)`,
	},
	{
		File: "context/context.go",
		Old: `			p.children[child] = struct{}{}
`,
		New: `			p.nth++
			p.children[child] = p.nth
`,
	},
	{
		File: "context/context.go",
		Old: `	for child := range c.children {
`,
		New: `	for _, child := range inOrder(c.children) {
`,
	},
}
