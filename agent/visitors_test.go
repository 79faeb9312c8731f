package agent

import (
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"
)

func TestSilentVisitorsOfTheWebServerHoldUpNoScrape(t *testing.T) {
	r := newRig(t)
	address := r.agent.httpAddress.Load().(string)
	before := runtime.NumGoroutine()
	visits := make([]net.Conn, 2000)
	for i := range visits {
		var err error
		visits[i], err = net.Dial("tcp", address)
		check(t, err)
		defer visits[i].Close()
	}
	if code, body := get(t, "http://"+address+"/metrics"); code != 200 || !strings.Contains(body, "berth_attachments") {
		t.Errorf("a scrape is answered %d: %.200s", code, body)
	}
	check(t, visits[0].SetReadDeadline(time.Now().Add(time.Minute)))
	if _, err := io.ReadAll(visits[0]); os.IsTimeout(err) {
		t.Error("the visitor who has said nothing for longest is still there")
	}
	r.until("there are as many as may be", func() bool { return runtime.NumGoroutine()-before < maxVisitors+50 })
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
