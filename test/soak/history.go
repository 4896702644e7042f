package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/anishathalye/porcupine"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// op is what a client did to a register: it wrote a value that nobody else writes, or read one. 0 is a register that nobody has written.
type op struct {
	key   int
	write bool
	value int64
}

// register is the model: a read sees what was written last. Each key is checked for itself.
var register = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		by := map[int][]porcupine.Operation{}
		for _, o := range all {
			k := o.Input.(op).key
			by[k] = append(by[k], o)
		}
		out := make([][]porcupine.Operation, 0, len(by))
		for _, some := range by {
			out = append(out, some)
		}
		return out
	},
	Init: func() any { return int64(0) },
	Step: func(state, input, output any) (bool, any) {
		in := input.(op)
		if in.write {
			return true, in.value
		}
		return output.(int64) == state.(int64), state
	},
	Equal: func(a, b any) bool { return a == b },
	DescribeOperation: func(input, output any) string {
		if in := input.(op); in.write {
			return fmt.Sprintf("r%d = %d", in.key, in.value)
		}
		return fmt.Sprintf("r%d is %d", input.(op).key, output)
	},
}

// history is what all clients saw. A write without an answer, or with a warning, may have happened at any time after it was sent, or never: it has no
// end (SAFETY D14). A read without an answer says nothing.
type history struct {
	mu  sync.Mutex
	ops []porcupine.Operation
}

func (h *history) add(client int, in op, out int64, call, end time.Time) {
	o := porcupine.Operation{ClientId: client, Input: in, Output: out, Call: call.UnixNano(), Return: math.MaxInt64}
	if !end.IsZero() {
		o.Return = end.UnixNano()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ops = append(h.ops, o)
}

// check looks for an order that explains all. A violation names the key and shows the operations around the first that does not fit.
func (h *history) check(limit time.Duration) (verdict string, err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, some := range register.Partition(needed(h.ops)) {
		switch porcupine.CheckOperationsTimeout(register, some, limit) {
		case porcupine.Illegal:
			return "violated", fmt.Errorf("register %d went back:%s", some[0].Input.(op).key, explain(some, limit))
		case porcupine.Unknown:
			verdict = "undecided"
		}
	}
	if verdict == "" {
		verdict = "linearizable"
	}
	return verdict, nil
}

// needed leaves out writes without an end whose value nobody has read: they can always come last, and each doubles the checker's work.
func needed(all []porcupine.Operation) []porcupine.Operation {
	read := map[int64]bool{}
	for _, o := range all {
		if !o.Input.(op).write {
			read[o.Output.(int64)] = true
		}
	}
	var out []porcupine.Operation
	for _, o := range all {
		if in := o.Input.(op); !in.write || o.Return != math.MaxInt64 || read[in.value] {
			out = append(out, o)
		}
	}
	return out
}

// explain finds the first operation, in the order of their ends, up to which the history cannot be explained, and shows what was said near it.
func explain(all []porcupine.Operation, limit time.Duration) string {
	last := int64(0)
	ends := []int64{}
	for _, o := range all {
		if o.Return != math.MaxInt64 {
			ends = append(ends, o.Return)
		}
	}
	low, high := 0, len(ends)
	slices.Sort(ends)
	for low < high { // the first end up to which it is illegal
		mid := (low + high) / 2
		var part []porcupine.Operation
		for _, o := range all {
			if o.Call <= ends[mid] {
				if o.Return > ends[mid] {
					if !o.Input.(op).write {
						continue
					}
					o.Return = math.MaxInt64
				}
				part = append(part, o)
			}
		}
		if porcupine.CheckOperationsTimeout(register, part, limit) == porcupine.Illegal {
			high = mid
		} else {
			low = mid + 1
		}
	}
	if low < len(ends) {
		last = ends[low]
	}
	text := ""
	for _, o := range all {
		if o.Call <= last && (o.Return > last-int64(3*time.Second)) {
			end := "no answer"
			if o.Return != math.MaxInt64 {
				end = time.Unix(0, o.Return).UTC().Format("15:04:05.000")
			}
			text += fmt.Sprintf("\n  client %d: %s, sent %s, answered %s", o.ClientId, register.DescribeOperation(o.Input, o.Output), time.Unix(0, o.Call).UTC().Format("15:04:05.000"), end)
		}
	}
	return text
}

const (
	clients  = 4
	keys     = 12
	patience = 1500 * time.Millisecond // a client's own deadline
)

// client reads and writes registers until ctx ends.
func (h *history) client(ctx context.Context, id int, connect func(context.Context) (*pgx.Conn, error), warned func() bool) {
	var conn *pgx.Conn
	defer func() {
		if conn != nil {
			conn.Close(context.WithoutCancel(ctx))
		}
	}()
	tick := time.NewTicker(60 * time.Millisecond)
	defer tick.Stop()
	for n := int64(1); ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if conn == nil {
			c, cancel := context.WithTimeout(ctx, time.Second)
			conn, _ = connect(c) // the next tick tries again
			cancel()
			if conn == nil {
				continue
			}
		}
		in := op{key: rand.IntN(keys), write: rand.IntN(2) == 0, value: n*clients + int64(id) + 1}
		c, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		call := time.Now()
		out, err := in.do(c, conn)
		end := time.Now()
		cancel()
		switch {
		case in.write && (err != nil && !certainlyNot(err) || warned()):
			h.add(id, in, 0, call, time.Time{})
		case err == nil:
			h.add(id, in, out, call, end)
		}
		var answer *pgconn.PgError
		// A server that only reads is one that has been deposed: its sessions stay, the Service leads elsewhere.
		if err != nil && (!errors.As(err, &answer) || conn.IsClosed() || answer.Code == "25006") {
			conn.Close(context.WithoutCancel(ctx))
			conn = nil
		}
	}
}

func (o op) do(ctx context.Context, conn *pgx.Conn) (out int64, err error) {
	if o.write {
		_, err = conn.Exec(ctx, "insert into soak_registers (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value", o.key, o.value)
		return 0, err
	}
	err = conn.QueryRow(ctx, "select coalesce((select value from soak_registers where key = $1), 0)", o.key).Scan(&out)
	return out, err
}

// certainlyNot: the server refused before it began; nothing was written.
func certainlyNot(err error) bool {
	var answer *pgconn.PgError
	return errors.As(err, &answer) && (answer.Code == "25006" || answer.Code == "40001" || answer.Code == "40P01" || answer.Code == "42P01")
}
