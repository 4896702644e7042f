package guarding

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"
)

func TestProbeSaysWhetherTheFenceLooksAtTheClock(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	listen := l.Addr().String()
	l.Close()
	var alive atomic.Bool
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- ServeLive(ctx, listen, alive.Load) }()
	probe := func() int {
		r, err := http.Get("http://" + listen + "/livez")
		if err != nil {
			return 0
		}
		defer r.Body.Close()
		return r.StatusCode
	}
	for end := time.Now().Add(10 * time.Second); probe() == 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
	}
	if got := probe(); got != http.StatusServiceUnavailable {
		t.Errorf("a fence that stands still: got %d, want 503", got)
	}
	alive.Store(true)
	if got := probe(); got != http.StatusOK {
		t.Errorf("a fence that works: got %d, want 200", got)
	}
	cancel()
	if err := <-ended; err != nil {
		t.Errorf("at the end: %v", err)
	}
}
