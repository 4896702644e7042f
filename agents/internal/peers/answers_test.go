package peers

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	sitecerts "github.com/pgspan/pgspan/tls"
)

// broken answers each request by hand. It counts them.
func broken(t *testing.T, files sitecerts.Bundle, answer func(n int, conn net.Conn)) (at string, asked *atomic.Int64) {
	t.Helper()
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{keyPair(t, files, "server")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	asked = &atomic.Int64{}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				in := bufio.NewReader(conn)
				for {
					req, err := http.ReadRequest(in)
					if err != nil {
						return
					}
					req.Body.Close()
					n := int(asked.Add(1))
					if answer(n, conn); n != 1 {
						return
					}
				}
			}()
		}
	}()
	return l.Addr().String(), asked
}

// endless goes on until nobody reads any more, which must be soon. What the kernel's buffers hold is beside that.
func endless(t *testing.T, conn net.Conn, head, more string) {
	fmt.Fprint(conn, head)
	const buffers = 16 << 20
	for n := 0; n < buffers; n += len(more) {
		if _, err := fmt.Fprint(conn, more); err != nil {
			return
		}
	}
	t.Errorf("more than %d bytes were read", buffers)
}

func TestBrokenAnswers(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	ok := func(conn net.Conn, body string) {
		fmt.Fprintf(conn, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
	}
	me := `"me":{"member":"%s","pod":"p","boot":"b"}`
	for name, c := range map[string]struct {
		answer func(conn net.Conn, id string)
		want   string
		asked  int64 // with the good answer that comes first
	}{
		"closed_without_a_word": {func(conn net.Conn, _ string) { conn.Close() }, "wait for the answer", 3}, // kept, then a new one: no third
		"cut_in_the_head":       {func(conn net.Conn, _ string) { fmt.Fprint(conn, "HTTP/1.1 200") }, "read the answer", 2},
		"cut_in_the_body":       {func(conn net.Conn, _ string) { fmt.Fprint(conn, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{") }, "read the answer", 2},
		"endless_head": {func(conn net.Conn, _ string) {
			endless(t, conn, "HTTP/1.1 200 OK\r\n", "A: "+strings.Repeat("a", 1000)+"\r\n")
		}, "read the answer", 2},
		"endless_line": {func(conn net.Conn, _ string) { endless(t, conn, "HTTP/1.1 200 OK\r\nA: ", strings.Repeat("a", 1000)) }, "read the answer", 2},
		"endless_body": {func(conn net.Conn, _ string) { endless(t, conn, "HTTP/1.1 200 OK\r\n\r\n", strings.Repeat(" ", 1000)) }, "ask", 2},
		"server_error": {func(conn net.Conn, _ string) { fmt.Fprint(conn, "HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n") }, "503", 2},
		"moved": {func(conn net.Conn, _ string) {
			fmt.Fprint(conn, "HTTP/1.1 302 Found\r\nLocation: /\r\nContent-Length: 0\r\n\r\n")
		}, "302", 2},
		"no_json":       {func(conn net.Conn, _ string) { ok(conn, "ok") }, "parse the answer", 2},
		"nothing_said":  {func(conn net.Conn, _ string) { ok(conn, "{}") }, "no format number", 2},
		"newer_format":  {func(conn net.Conn, id string) { ok(conn, fmt.Sprintf(`{"format":2,`+me+`}`, id)) }, "format 2", 2},
		"nobodys":       {func(conn net.Conn, _ string) { ok(conn, `{"format":1}`) }, "whose", 2},
		"other_volume":  {func(conn net.Conn, _ string) { ok(conn, fmt.Sprintf(`{"format":1,`+me+`}`, "another")) }, "member another answers there", 2},
		"place_unknown": {func(conn net.Conn, id string) { ok(conn, fmt.Sprintf(`{"format":1,"known":true,`+me+`}`, id)) }, "known position without", 2},
		"new_fields":    {func(conn net.Conn, id string) { ok(conn, fmt.Sprintf(`{"format":1,"mood":"fine",`+me+`}`, id)) }, "", 2},
	} {
		t.Run(name, func(t *testing.T) {
			p, o := newPeer(t, good), newPeer(t, good)
			o.stop()
			var asked *atomic.Int64
			o.at, asked = broken(t, good, func(n int, conn net.Conn) {
				if n == 1 {
					ok(conn, fmt.Sprintf(`{"format":1,`+me+`}`, o.ID))
					return
				}
				c.answer(conn, o.ID)
			})
			heard(t, p, o)
			_, err := p.asks(o)
			if got := fmt.Sprint(err); (c.want == "") != (err == nil) || !strings.Contains(got, c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
			if err != nil && !strings.Contains(err.Error(), o.Pod) {
				t.Errorf("it does not say who: %v", err)
			}
			if got := asked.Load(); got != c.asked {
				t.Errorf("it was asked %d times, want %d", got, c.asked)
			}
		})
	}
}

// A connection that was not kept has not been closed for want of use: asking again would be asking twice.
func TestNewConnectionIsNotTriedTwice(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, o := newPeer(t, good), newPeer(t, good)
	o.stop()
	var asked *atomic.Int64
	o.at, asked = broken(t, good, func(_ int, conn net.Conn) { conn.Close() })
	if _, err := p.asks(o); err == nil || asked.Load() != 1 {
		t.Errorf("got %v after %d questions, want 1", err, asked.Load())
	}
}
