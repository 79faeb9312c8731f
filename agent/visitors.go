package agent

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// maxVisitors is how many connections to the web server are open at once.
const maxVisitors = 256

// visitors bound the connections to the web server: for one more, the one that has said nothing for longest is closed.
type visitors struct {
	most int

	mu     sync.Mutex
	silent map[net.Conn]time.Time // since when
	busy   map[net.Conn]struct{}
}

// see is an http.Server's ConnState.
func (v *visitors) see(conn net.Conn, state http.ConnState) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.silent == nil {
		v.silent, v.busy = map[net.Conn]time.Time{}, map[net.Conn]struct{}{}
	}
	if state == http.StateNew && len(v.silent)+len(v.busy) >= v.most {
		v.closeOne(conn)
	}
	delete(v.silent, conn)
	delete(v.busy, conn)
	switch state {
	case http.StateNew, http.StateIdle:
		v.silent[conn] = time.Now()
	case http.StateActive:
		v.busy[conn] = struct{}{}
	}
}

// closeOne makes room for a newcomer; where all the others are busy, it is the newcomer that goes.
func (v *visitors) closeOne(newcomer net.Conn) {
	longest, since := newcomer, time.Now()
	for conn, began := range v.silent {
		if began.Before(since) {
			longest, since = conn, began
		}
	}
	delete(v.silent, longest)
	longest.Close()
}
