package pgtest

// Option changes what New or BaseBackup makes.
type Option func(*Server)

// WithSetting sets a server parameter. It is given on the server's command line at each start, so PGDATA stays as
// initdb or pg_basebackup made it.
func WithSetting(name, value string) Option {
	return func(s *Server) { s.settings[name] = value }
}

// WithHBA replaces the default pg_hba.conf, which trusts the Unix socket and asks for a password over TCP.
func WithHBA(lines ...string) Option {
	return func(s *Server) { s.hba = lines }
}

// WithVolume puts PGDATA into a directory of the caller's, at <volume>/pgdata as in our pods. volume is an inside path.
func WithVolume(volume string) Option {
	return func(s *Server) { s.Volume = volume }
}

// WithFreshInitdb runs initdb for this server alone. Servers otherwise start from a copy of one cluster per major and
// share its system identifier, which is what replicas want and tests of foreign identifiers do not.
func WithFreshInitdb(args ...string) Option {
	return func(s *Server) { s.fresh, s.initdbArgs = true, args }
}

// WithTLS turns TLS on with a certificate for the server's address, made for this server by an authority of its own.
// The authority is in Server.CA.
func WithTLS() Option {
	return func(s *Server) { s.tls = true }
}
