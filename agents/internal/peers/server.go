package peers

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/record"
)

const (
	// exchangeLimit bounds the handshake, and each request with its answer. Whoever asks gives up long before.
	exchangeLimit = 2 * time.Second
	// idleLimit ends connections that nobody uses. Clients close theirs earlier, so that they never write to one that is just being closed.
	idleLimit = 90 * time.Second
	// bodyLimit bounds what is read of anybody, in either direction.
	bodyLimit = 16 << 10
	// listenAgain is between two attempts to listen.
	listenAgain = 2 * time.Second
)

// Options is what a server is told once.
type Options struct {
	// Listen is an address to listen at, like ":8009".
	Listen string
	// TLSDir is the mounted Secret: ca.crt, server.crt, server.key.
	TLSDir string
	// Standing is asked for each answer and must not wait for anything.
	Standing func() Standing
	// Promise answers a leader that cannot write to the store, and must not wait for anything.
	Promise func(Plea) Promise
	// Relay writes the end of a leader's reign for it, and ends with ctx.
	Relay func(ctx context.Context, version string, r record.Record) (made string, err error)
	// Nudge is called when a peer says that the record has changed: never twice at once, not more than ten times a second, with the newest
	// version of those said meanwhile. It is a hint that anybody with a keeper's certificate can give, never a fact.
	Nudge func(from grant.Incarnation, v epoch.Version)
	// Order carries out what a person asks, or passes it on to the leader, and ends with ctx; Status tells what this keeper knows. Without them
	// nothing can be asked.
	Order  func(ctx context.Context, verb Verb, o Order) Receipt
	Status func() Status
	Log    *slog.Logger
}

// Server answers the other keepers.
type Server struct {
	o            Options
	log          *slog.Logger
	certificates *certificates
	nudges       *nudges
}

// New makes a server; Run makes it listen.
func New(o Options) *Server {
	return &Server{o: o, log: o.Log, certificates: newCertificates(o.TLSDir, "server", o.Log), nudges: newNudges(o.Nudge)}
}

// Run serves until ctx ends. An address that cannot be had is tried again: a member that is not heard still has a database to run.
func (s *Server) Run(ctx context.Context) {
	said := ""
	for {
		listener, err := listen(ctx, s.o.Listen)
		if err == nil {
			if said != "" {
				s.log.Info("listening for peers", "address", s.o.Listen)
			}
			said = ""
			err = s.serve(ctx, listener)
		}
		if ctx.Err() != nil {
			return
		}
		if err.Error() != said {
			said = err.Error()
			s.log.Error("peers not served", "address", s.o.Listen, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(listenAgain):
		}
	}
}

// serve answers on a listener until ctx ends or the listener fails, and closes it and all its connections.
func (s *Server) serve(ctx context.Context, listener net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go s.nudges.run(ctx)
	server := &http.Server{
		Handler:           s.handler(),
		ReadHeaderTimeout: exchangeLimit, ReadTimeout: exchangeLimit, WriteTimeout: exchangeLimit, IdleTimeout: idleLimit,
		MaxHeaderBytes: bodyLimit,
		ErrorLog:       log.New(&complaints{log: s.log}, "", 0),
	}
	stop := context.AfterFunc(ctx, func() { _ = server.Close() })
	defer stop()
	defer server.Close()
	// Only HTTP/1.1 is offered. Each connection begins with the certificates of its moment.
	return server.Serve(tls.NewListener(newBounded(listener), &tls.Config{
		MinVersion: tls.VersionTLS13,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			m, err := s.certificates.current()
			if err != nil {
				return nil, fmt.Errorf("no certificates of our own: %w", err)
			}
			return m.serving(), nil
		},
	}))
}

// handler is what can be asked of a keeper.
func (s *Server) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+pathStanding, func(w http.ResponseWriter, _ *http.Request) {
		standing := s.o.Standing()
		standing.Format = Format
		reply(w, standing)
	})
	mux.HandleFunc("POST "+pathPromise, s.promise)
	mux.HandleFunc("POST "+pathRelay, s.relay)
	mux.HandleFunc("POST "+pathLook, func(w http.ResponseWriter, r *http.Request) {
		var l look
		if err := read(w, r, &l); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if err := l.validate(); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		s.nudges.add(l)
		w.WriteHeader(http.StatusNoContent)
	})
	s.takeOrders(mux)
	return s.admitted(mux)
}

// admitted lets through who would be admitted by a handshake now.
func (s *Server) admitted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		m, err := s.certificates.current()
		if err == nil && r.TLS == nil {
			err = errors.New("not over TLS")
		}
		if err == nil {
			err = m.admit(r.TLS.PeerCertificates, time.Now())
		}
		if err != nil {
			w.Header().Set("Connection", "close")
			http.Error(w, "not admitted any more", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// read takes a request's body.
func read(w http.ResponseWriter, r *http.Request, into any) error {
	return readUpTo(bodyLimit, w, r, into)
}

func readUpTo(limit int64, w http.ResponseWriter, r *http.Request, into any) error {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	if err != nil {
		return fmt.Errorf("read the request: %w", err)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("parse the request: %w", err)
	}
	return nil
}

func reply(w http.ResponseWriter, value any) {
	b, err := json.Marshal(value)
	if err != nil {
		http.Error(w, "the answer cannot be written", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_, _ = w.Write(b) // whoever asked has gone, which is its business
}
