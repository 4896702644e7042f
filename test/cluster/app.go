package cluster

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// App is how an application reaches a release: what its Secret says, and an address that this machine can reach.
type App struct {
	Host     string // the name that the certificate is checked against
	Address  string // where to connect
	Port     int
	User     string
	Password string
	Database string
	CA       []byte // PEM
	Name     string // application_name
	// OnNotice, if set, is told of warnings.
	OnNotice pgconn.NoticeHandler `json:"-"`
}

// App reads the application Secret of a user and points it at a Service's name with the address given.
func (s *Site) App(ctx context.Context, namespace, secret, service, address string) (App, error) {
	v, err := s.Secret(ctx, namespace, secret)
	if err != nil {
		return App{}, err
	}
	port, err := strconv.Atoi(v["port"])
	if err != nil {
		return App{}, fmt.Errorf("secret %s: port: %w", secret, err)
	}
	return App{
		Host: service + "." + namespace + ".svc", Address: address, Port: port, User: v["username"], Password: v["password"],
		Database: v["database"], CA: []byte(v["ca.crt"]), Name: "demo",
	}, nil
}

// Connect opens a connection with TLS, the server's name checked. The client's own deadline bounds the attempt.
func (a App) Connect(ctx context.Context) (*pgx.Conn, error) {
	config, err := pgx.ParseConfig("sslmode=require connect_timeout=5")
	if err != nil {
		return nil, fmt.Errorf("connect as %s: %w", a.User, err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(a.CA) {
		return nil, fmt.Errorf("connect as %s: the Secret's ca.crt holds no certificate", a.User)
	}
	config.Host, config.Port, config.User, config.Password, config.Database = a.Host, uint16(a.Port), a.User, a.Password, a.Database
	config.RuntimeParams["application_name"] = a.Name
	config.TLSConfig = &tls.Config{RootCAs: roots, ServerName: a.Host, MinVersion: tls.VersionTLS12}
	config.Fallbacks, config.OnNotice = nil, a.OnNotice
	config.LookupFunc = func(context.Context, string) ([]string, error) { return []string{a.Address}, nil }
	config.DialFunc = (&net.Dialer{Timeout: 2 * time.Second}).DialContext
	// A pooler may hand each statement's reply to another session's prepared statements: describe and run in one go.
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return nil, fmt.Errorf("connect as %s to %s (%s): %w", a.User, a.Host, a.Address, err)
	}
	return conn, nil
}
