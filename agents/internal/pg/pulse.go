package pg

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5/pgconn"
)

// Pulse is a session that is asked for nothing but an answer. It touches no catalog, so no lock that a client holds keeps it waiting, and it is
// kept while an answer is overdue: a server that is merely slow answers it in the end. It is used by one goroutine.
type Pulse struct {
	where Where
	conn  *session
}

// NewPulse makes one; it connects when it is first asked.
func NewPulse(w Where) *Pulse { return &Pulse{where: w} }

// Beat waits for an answer for as long as ctx lives. The server's refusal of a session is an answer, too.
func (p *Pulse) Beat(ctx context.Context) error {
	if p.conn == nil || p.conn.IsClosed() {
		p.Close()
		conn, err := p.where.connect(ctx, "postgres", nil)
		if Answered(err) {
			return nil
		}
		if err != nil {
			return err
		}
		p.conn = conn
	}
	if err := p.conn.run(ctx, ""); err != nil && !Answered(err) {
		return fmt.Errorf("wait for an answer of the server: %w", err)
	}
	return nil
}

// Close gives up the session.
func (p *Pulse) Close() {
	if p.conn != nil {
		closeConn(p.conn)
		p.conn = nil
	}
}

// Answered reports whether an error is the server's own word: one that has no room for a session, or is starting, does not hang (SAFETY D44).
func Answered(err error) bool {
	var refusal *pgconn.PgError
	return errors.As(err, &refusal)
}
