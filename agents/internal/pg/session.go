package pg

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
)

// session is a connection by the driver's lower half. Its upper half knows every type of PostgreSQL, which is two megabytes in each pod;
// the few types that are asked for here are decoded below, from their text.
type session struct {
	*pgconn.PgConn
	prepared map[string]string // statement name by query: what is asked each second is planned once
}

// query runs one statement with its arguments and returns all rows.
func (s *session) query(ctx context.Context, sql string, args ...string) (*pgconn.Result, error) {
	name, ok := s.prepared[sql]
	if !ok {
		name = "q" + strconv.Itoa(len(s.prepared))
		if _, err := s.Prepare(ctx, name, sql, nil); err != nil {
			return nil, err
		}
		s.prepared[sql] = name
	}
	values := make([][]byte, len(args))
	for i, a := range args {
		values[i] = []byte(a)
	}
	r := s.ExecPrepared(ctx, name, values, nil, nil).Read()
	return r, r.Err
}

// run runs statements without arguments, several in one if need be: utility statements take none.
func (s *session) run(ctx context.Context, statements string) error {
	_, err := s.Exec(ctx, statements).ReadAll()
	return err
}

// rows runs a query whose columns are named as the fields of T, underscores and case aside. Every column needs a field and every field a column;
// one with the tag `db:"-"` is left alone.
func rows[T any](ctx context.Context, s *session, sql string, args ...string) ([]T, error) {
	r, err := s.query(ctx, sql, args...)
	if err != nil {
		return nil, err
	}
	if len(r.Rows) == 0 {
		return nil, nil // the driver does not tell columns then
	}
	fields, err := match(reflect.TypeFor[T](), r.FieldDescriptions)
	if err != nil {
		return nil, err
	}
	out := make([]T, len(r.Rows))
	for i, row := range r.Rows {
		v := reflect.ValueOf(&out[i]).Elem()
		for column, text := range row {
			if err := decode(v.Field(fields[column]), text); err != nil {
				return nil, fmt.Errorf("column %s: %w", r.FieldDescriptions[column].Name, err)
			}
		}
	}
	return out, nil
}

// row is rows for a query that has exactly one.
func row[T any](ctx context.Context, s *session, sql string, args ...string) (T, error) {
	all, err := rows[T](ctx, s, sql, args...)
	if err == nil && len(all) != 1 {
		err = fmt.Errorf("the answer has %d rows, want 1", len(all))
	}
	if err != nil {
		var none T
		return none, err
	}
	return all[0], nil
}

// match finds the field of each column.
func match(t reflect.Type, columns []pgconn.FieldDescription) ([]int, error) {
	fields := map[string]int{}
	for i := range t.NumField() {
		if f := t.Field(i); f.Tag.Get("db") != "-" {
			fields[strings.ToLower(f.Name)] = i
		}
	}
	index := make([]int, len(columns))
	for i, c := range columns {
		name := strings.ToLower(strings.ReplaceAll(c.Name, "_", ""))
		field, ok := fields[name]
		if !ok {
			return nil, fmt.Errorf("%s has no field for column %s, or two columns for one", t, c.Name)
		}
		index[i] = field
		delete(fields, name)
	}
	for name := range fields {
		return nil, fmt.Errorf("no column for field %s of %s", name, t)
	}
	return index, nil
}

// timestamp is how PostgreSQL writes a timestamptz with DateStyle ISO.
const timestamp = "2006-01-02 15:04:05.999999999Z07"

// decode brings a value from its text; nil is NULL, which only a pointer can take. Lists are asked for as JSON.
func decode(v reflect.Value, text []byte) error {
	if v.Kind() == reflect.Pointer {
		if text == nil {
			v.SetZero()
			return nil
		}
		v.Set(reflect.New(v.Type().Elem()))
		return decode(v.Elem(), text)
	}
	if text == nil {
		return fmt.Errorf("NULL for a %s", v.Type())
	}
	s := string(text)
	switch into := v.Addr().Interface().(type) {
	case interface{ Scan(any) error }:
		return into.Scan(s)
	case *time.Time:
		at, err := time.Parse(timestamp, s)
		*into = at
		return err
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Bool:
		if s != "t" && s != "f" {
			return fmt.Errorf("%q is no boolean", s)
		}
		v.SetBool(s == "t")
	case reflect.Int, reflect.Int64, reflect.Int32:
		n, err := strconv.ParseInt(s, 10, v.Type().Bits())
		v.SetInt(n)
		return err
	case reflect.Uint32, reflect.Uint64:
		n, err := strconv.ParseUint(s, 10, v.Type().Bits())
		v.SetUint(n)
		return err
	case reflect.Float64:
		n, err := strconv.ParseFloat(s, 64)
		v.SetFloat(n)
		return err
	case reflect.Slice:
		return json.Unmarshal(text, v.Addr().Interface())
	default:
		return fmt.Errorf("a %s cannot be asked for", v.Type())
	}
	return nil
}

// quoted is a name as an identifier.
func quoted(name string) string {
	return `"` + strings.ReplaceAll(strings.ReplaceAll(name, "\x00", ""), `"`, `""`) + `"`
}
