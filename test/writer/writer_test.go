package writer

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
)

func TestSessionThatIsHeldIsNotReplaced(t *testing.T) {
	for name, c := range map[string]struct {
		once bool
		want int // connections that are tried at least; with once exactly
	}{"once": {true, 1}, "again_and_again": {false, 5}} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			tried, told := 0, 0
			w := &Writer{Once: c.once, Interval: time.Millisecond, Each: func(a Attempt) {
				if a.Err != nil {
					told++
				}
			}}
			w.Connect = func(context.Context) (*pgx.Conn, error) {
				if tried++; tried == 5 {
					cancel()
				}
				return nil, errors.New("refused")
			}
			w.Run(ctx)
			if tried != c.want || told != c.want || len(w.Log()) != c.want {
				t.Errorf("%d connections, %d told, %d kept, want %d", tried, told, len(w.Log()), c.want)
			}
		})
	}
}
