package agent

import (
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"
)

// The server has no time after which it closes a connection by itself.
func TestSilentVisitorsOfTheWebServerHoldUpNoScrape(t *testing.T) {
	const most, came = 16, 200
	l, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	server := &http.Server{ConnState: (&visitors{most: most}).see, Handler: http.NotFoundHandler()}
	go func() { _ = server.Serve(l) }()
	defer server.Close()
	visits := make([]net.Conn, came)
	for i := range visits {
		visits[i], err = net.Dial("tcp", l.Addr().String())
		check(t, err)
		defer visits[i].Close()
	}
	if code, _ := get(t, "http://"+l.Addr().String()); code != http.StatusNotFound {
		t.Errorf("a scrape is answered %d", code)
	}
	for _, conn := range visits[:came-most] {
		check(t, conn.SetReadDeadline(time.Now().Add(time.Minute)))
		if _, err := io.ReadAll(conn); os.IsTimeout(err) {
			t.Fatal("one who has said nothing for longest is still there")
		}
	}
}

func TestAHeaderThatIsTooLongIsRefused(t *testing.T) {
	r := newRig(t)
	conn, err := net.Dial("tcp", r.agent.httpAddress.Load().(string))
	check(t, err)
	defer conn.Close()
	check(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	_, _ = io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: a\r\nLong: "+strings.Repeat("x", 64<<10)+"\r\n\r\n")
	answer, err := io.ReadAll(conn)
	if !strings.Contains(string(answer), "431") {
		t.Errorf("answered %.100q, error %v: want status 431", answer, err)
	}
}
