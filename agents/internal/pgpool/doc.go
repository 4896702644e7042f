// Package pgpool knows how pgpool-II is run on Kubernetes. It renders pgpool's files, supervises it, and is its way to the servers.
//
// pgpool never fails anything over (T-59). It has two backends, the primary and the replicas, each of which is a Unix socket of the
// pooler's (Link); behind them are the role Services, so whoever changes a role does not have to tell it. Where a backend leads while a
// Service has nobody behind it is decided here (routePrimary, routeReplicas): with no primary reads go on from the replicas, with no
// replicas from the primary, and pgpool is not restarted for either.
//
// # What is encrypted, and who verifies whom
//
// From clients to pgpool: TLS by pgpool, with the server's certificate of the Secret; clients without TLS are refused, clients are not
// asked for certificates. From here to the servers: TLS by the pooler, TLS 1.2 or newer, the chain verified against ca.crt and the name
// against the Service's, as libpq does with verify-full. Between pgpool and the pooler: a Unix socket in a memory volume of the
// container, in clear.
//
// pgpool could speak TLS to servers by itself, and would do less: with ssl_ca_cert it verifies the chain, but no name; it goes on in clear
// text when a server answers that it has no TLS, or when the handshake fails, and shows its proof of the password to whoever answers; it
// cannot show a certificate of its own, so no role that logs in by certificate can be used for its checks.
//
// Passwords: SCRAM-SHA-256 on both sides. pgpool is an end of both, so it holds the clear passwords (T-64), in a memory volume, in a file
// of mode 0600. Channel binding ends at pgpool; clients must not require it.
//
// # What pgpool 4.6 does otherwise than its manual lets expect
//
// Found by reading it and by the tests of this package, and dealt with here; 4.7 is the same in all of them.
//
//   - connect_timeout is no limit when a session is opened: pgpool tries again until the kernel gives up, two minutes with the usual
//     settings. A server that takes the connection and then hangs is waited for without end. Hence Link's limits.
//   - It asks for no keep-alive towards servers, so a session on a server whose node has died hangs until the kernel gives up, a quarter
//     of an hour. Hence the limits in dial.go.
//   - Certificates are read once, at the start. A new one takes a restart, which ends pgpool's sessions; it is done at a moment in which
//     none is in a query or a transaction, if there is one soon.
//   - A child that has a client when pgpool is told to reload does not open the new password file, then or later (laggards.go).
//   - A setting whose name it does not know is ignored without a word.
//   - Values of pgpool.conf know no escape for a quote; a colon or backslash in a password needs one; a password is cut off after 124
//     bytes; SASLprep is not done.
//   - While a query cache is off, its memory is allocated all the same, for what is known of tables: 134 MB. It is set to 6 MB.
//   - The shared memory of a killed pgpool stays in the pod (leftovers.go), and so does its pid file, which can keep the next one from
//     starting.
//
// # What remains
//
//   - A session ends with either of its two servers: pgpool cannot move it, and opens each with both, also one that only reads.
//   - While there are no replicas, pgpool starts a child anew after each session, so connections are not pooled.
//   - A request to cancel a query goes to the Service of the backend, and with several replicas behind it perhaps to another one.
//   - The semaphores (eight) of a killed pgpool stay until the pod is deleted.
package pgpool
