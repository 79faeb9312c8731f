package server

import (
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"
)

// The server has no time after which it closes a connection by itself.
func TestSilentCallersOfTheWebServerHoldUpNoScrape(t *testing.T) {
	const most, came = 16, 200
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{ConnState: (&webLimiter{most: most}).track, Handler: http.NotFoundHandler()}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	visits := make([]net.Conn, came)
	for i := range visits {
		visits[i], err = net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer visits[i].Close()
	}
	response, err := http.Get("http://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	if response.StatusCode != http.StatusNotFound {
		t.Errorf("a scrape is answered %d", response.StatusCode)
	}
	for _, conn := range visits[:came-most] {
		if err := conn.SetReadDeadline(time.Now().Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(conn); os.IsTimeout(err) {
			t.Fatal("one who has said nothing for longest is still there")
		}
	}
}
