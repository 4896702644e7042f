package pg

import (
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/lsn"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

// everything has a field of each type that is asked for.
type everything struct {
	Truth    bool
	Small    int32
	Large    int64
	Port     uint32
	Fraction float64
	Words    string
	List     []string
	At       time.Time
	End      lsn.LSN
	NoTruth  *bool
	NoLarge  *int64
	NoWords  *string
	NoEnd    *lsn.LSN
	SomeEnd  *lsn.LSN
	Ours     string `db:"-"`
}

const queryEverything = `
SELECT true AS truth, -7 AS small, 9223372036854775807 AS large, 4294967295 AS port, 'Infinity'::float8 AS fraction, $1::text AS words,
       array_to_json(ARRAY['a', 'b,"c']) AS list, '2026-03-01 12:00:00.25+05:30'::timestamptz AS at, 'FFFFFFFF/1'::pg_lsn AS "end",
       NULL::bool AS no_truth, NULL::int8 AS no_large, NULL::text AS no_words, NULL::pg_lsn AS no_end, '1/2'::pg_lsn AS some_end`

func TestSession(t *testing.T) {
	for _, major := range pgtest.Majors(t) {
		t.Run(strconv.Itoa(major), func(t *testing.T) {
			t.Parallel()
			// What a person sets for the server must not change how answers are read.
			server := pgtest.New(t, major, pgtest.WithSetting("datestyle", "German"), pgtest.WithSetting("timezone", "Asia/Kathmandu"))
			server.Start(t)
			s, err := where(server).connect(t.Context(), "postgres", nil)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { closeConn(s) })

			const words = "quote ' and\nline ü"
			for range 2 { // planned, and planned already
				got, err := row[everything](t.Context(), s, queryEverything, words)
				if err != nil {
					t.Fatal(err)
				}
				if !got.Truth || got.Small != -7 || got.Large != math.MaxInt64 || got.Port != math.MaxUint32 || !math.IsInf(got.Fraction, 1) || got.Words != words ||
					strings.Join(got.List, "|") != `a|b,"c` || !got.At.Equal(time.Date(2026, 3, 1, 6, 30, 0, 25e7, time.UTC)) || got.End != 0xFFFFFFFF00000001 {
					t.Errorf("got %+v", got)
				}
				if got.NoTruth != nil || got.NoLarge != nil || got.NoWords != nil || got.NoEnd != nil || got.SomeEnd == nil || *got.SomeEnd != 1<<32|2 {
					t.Errorf("what may be NULL: got %+v", got)
				}
			}
			for name, c := range map[string]struct {
				ask  func() error
				want string
			}{
				"null_is_not_zero":       {func() error { _, err := row[struct{ N int64 }](t.Context(), s, `SELECT NULL::int8 AS n`); return err }, "NULL for a int64"},
				"column_without_a_field": {func() error { _, err := row[struct{ N int64 }](t.Context(), s, `SELECT 1 AS n, 2 AS m`); return err }, "no field for column m"},
				"field_without_a_column": {func() error { _, err := row[struct{ N, M int64 }](t.Context(), s, `SELECT 1 AS n`); return err }, "no column for field m"},
				"two_columns_for_one_field": {func() error {
					_, err := row[struct{ AB int64 }](t.Context(), s, `SELECT 1 AS ab, 2 AS a_b`)
					return err
				}, "two columns for one"},
				"no_row": {func() error {
					_, err := row[struct{ N int64 }](t.Context(), s, `SELECT 1 AS n WHERE false`)
					return err
				}, "0 rows"},
				"two_rows": {func() error {
					_, err := row[struct{ N int64 }](t.Context(), s, `SELECT generate_series(1, 2) AS n`)
					return err
				}, "2 rows"},
				"number_that_does_not_fit": {func() error { _, err := row[struct{ N int32 }](t.Context(), s, `SELECT 2147483648 AS n`); return err }, "out of range"},
				"text_that_is_no_boolean":  {func() error { _, err := row[struct{ B bool }](t.Context(), s, `SELECT 'true' AS b`); return err }, "no boolean"},
				"statement_that_is_wrong":  {func() error { _, err := row[struct{ B bool }](t.Context(), s, `SELECT FROM WHERE`); return err }, "syntax error"},
				"failure_in_the_middle": {func() error {
					_, err := rows[struct{ N int64 }](t.Context(), s, `SELECT 1 / (3 - g) AS n FROM generate_series(1, 3) g`)
					return err
				}, "division by zero"},
			} {
				err := c.ask()
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
				}
			}
			if some, err := rows[struct{ N int64 }](t.Context(), s, `SELECT generate_series(1, 3) AS n`); err != nil || len(some) != 3 || some[2].N != 3 {
				t.Errorf("after all that: got %v, %v", some, err)
			}
		})
	}
}

func TestQuoted(t *testing.T) {
	for name, want := range map[string]string{"app": `"app"`, `a"; DROP`: `"a""; DROP"`, "a\x00b": `"ab"`, "Ä b": `"Ä b"`} {
		if got := quoted(name); got != want {
			t.Errorf("%q: got %s, want %s", name, got, want)
		}
	}
}
