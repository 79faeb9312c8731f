package server

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// maxWebConns is how many connections to the web server are open at once.
const maxWebConns = 256

// webLimiter bounds the connections to the web server: for a further one, the one that has been silent longest is closed.
type webLimiter struct {
	most int

	mu     sync.Mutex
	silent map[net.Conn]time.Time // since when
	busy   map[net.Conn]struct{}
}

// track is an http.Server's ConnState.
func (l *webLimiter) track(c net.Conn, state http.ConnState) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.silent == nil {
		l.silent, l.busy = map[net.Conn]time.Time{}, map[net.Conn]struct{}{}
	}
	if state == http.StateNew && len(l.silent)+len(l.busy) >= l.most {
		l.evictLocked(c)
	}
	delete(l.silent, c)
	delete(l.busy, c)
	switch state {
	case http.StateNew, http.StateIdle:
		l.silent[c] = time.Now()
	case http.StateActive:
		l.busy[c] = struct{}{}
	}
}

// evictLocked makes room for a newcomer; if all others are busy, it closes the newcomer.
func (l *webLimiter) evictLocked(newcomer net.Conn) {
	longest, since := newcomer, time.Now()
	for c, began := range l.silent {
		if began.Before(since) {
			longest, since = c, began
		}
	}
	delete(l.silent, longest)
	longest.Close()
}
