package kubetest

import (
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"testing"
	"time"
)

// Fault is what happens to one request on its way.
type Fault struct {
	// LoseRequest: it never arrives, and no answer comes. LoseAnswer: it arrives and is carried out, and no answer comes. The caller waits
	// until it gives up, as with a cut network.
	LoseRequest, LoseAnswer bool
	// Reset closes the connection instead of keeping silent.
	Reset bool
	// Twice: it is carried out twice; the caller gets the second answer.
	Twice bool
	// Before and After delay the request and the answer.
	Before, After time.Duration
	// Status answers in the API server's place.
	Status int
}

// Proxy stands before the API server.
type Proxy struct {
	URL    string
	judge  atomic.Pointer[func(*http.Request) Fault]
	served atomic.Int64
}

// Proxy starts a proxy that passes everything on until it is told otherwise.
func (c *Cluster) Proxy(t testing.TB) *Proxy {
	t.Helper()
	target, err := url.Parse(c.URL)
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{}
	p.Heal()
	forward := &httputil.ReverseProxy{
		Rewrite:   func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{TLSClientConfig: c.pki.client()},
		ErrorLog:  log.New(io.Discard, "", 0), // callers that give up are what the tests are about
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{c.pki.server}, MinVersion: tls.VersionTLS12})
	if err != nil {
		t.Fatal(err)
	}
	server := &http.Server{Handler: p.handler(forward), ErrorLog: log.New(io.Discard, "", 0), ReadHeaderTimeout: time.Minute}
	go func() { _ = server.Serve(l) }()
	t.Cleanup(func() { _ = server.Close() })
	p.URL = "https://" + l.Addr().(*net.TCPAddr).String()
	return p
}

// Break makes judge decide about each request from now on.
func (p *Proxy) Break(judge func(*http.Request) Fault) { p.judge.Store(&judge) }

// Heal passes everything on again.
func (p *Proxy) Heal() { p.Break(func(*http.Request) Fault { return Fault{} }) }

// Served counts the requests that were passed on.
func (p *Proxy) Served() int64 { return p.served.Load() }

func (p *Proxy) handler(forward http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		f := (*p.judge.Load())(r)
		again := func() *http.Request {
			// The caller's giving up must not take the request back: it is on its way.
			c := r.Clone(detached{r.Context()})
			c.Body = io.NopCloser(bytes.NewReader(body))
			return c
		}
		wait(r, f.Before)
		switch {
		case f.LoseRequest:
			silence(r, f.Reset)
			return
		case f.Status != 0:
			http.Error(w, "as told", f.Status)
			return
		}
		if f.Twice || f.LoseAnswer {
			p.served.Add(1)
			forward.ServeHTTP(&sink{header: http.Header{}}, again())
		}
		if f.LoseAnswer {
			silence(r, f.Reset)
			return
		}
		p.served.Add(1)
		if f.After == 0 {
			forward.ServeHTTP(w, again())
			return
		}
		kept := &sink{header: http.Header{}, status: http.StatusOK}
		forward.ServeHTTP(kept, again())
		wait(r, f.After)
		for name, values := range kept.header {
			w.Header()[name] = values
		}
		w.WriteHeader(kept.status)
		_, _ = w.Write(kept.body.Bytes())
	})
}

// silence keeps the caller waiting until it gives up, or hangs up.
func silence(r *http.Request, reset bool) {
	if !reset {
		<-r.Context().Done()
	}
	panic(http.ErrAbortHandler)
}

func wait(r *http.Request, d time.Duration) {
	if d <= 0 {
		return
	}
	select {
	case <-time.After(d):
	case <-r.Context().Done():
		<-time.After(d) // late, but it arrives
	}
}
