// Package initdb makes a new database.
package initdb

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/notes"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
	"github.com/pgspan/pgspan/agents/internal/settings"
)

// limit is far above the few seconds that initdb takes, for storage that is slow but alive.
const limit = 10 * time.Minute

// Superuser is the name of the first role, whatever the user is called that the server runs as.
const Superuser = "postgres"

// Resolve fills in what the chart left out. The builtin provider's order of text does not change with the image; before 17 the order of
// C.UTF-8 in the C library is the next best, by code point in every release of glibc that has it.
func Resolve(s settings.Initdb, major int) notes.Initdb {
	n := notes.Initdb{Encoding: s.Encoding, LocaleProvider: s.LocaleProvider, Locale: s.Locale, ICULocale: s.ICULocale}
	if n.Encoding == "" {
		n.Encoding = "UTF8"
	}
	if n.Locale == "" {
		n.Locale = "C.UTF-8"
	}
	if n.LocaleProvider == "" {
		switch {
		case n.ICULocale != "":
			n.LocaleProvider = "icu"
		case major >= 17 && n.Locale == "C.UTF-8":
			n.LocaleProvider = "builtin"
		default:
			n.LocaleProvider = "libc"
		}
	}
	return n
}

// args are the arguments of initdb. Nobody can log in by the pg_hba.conf that it writes: the server is always started with ours.
func args(target string, s settings.Initdb, major int) []string {
	n := Resolve(s, major)
	a := []string{
		"--pgdata=" + target,
		"--username=" + Superuser,
		"--auth=reject",
		"--encoding=" + n.Encoding,
		"--locale-provider=" + n.LocaleProvider,
		"--locale=" + n.Locale,
		"--no-instructions",
	}
	if n.ICULocale != "" {
		a = append(a, "--icu-locale="+n.ICULocale)
	}
	switch {
	case !s.NoChecksums:
		a = append(a, "--data-checksums")
	case major >= 18:
		a = append(a, "--no-data-checksums")
	}
	if s.WALSegmentMB > 0 {
		a = append(a, "--wal-segsize="+strconv.Itoa(s.WALSegmentMB))
	}
	return a
}

// Run makes a database in target, which must not be there or be empty, and returns when it is on disk. lock is inherited. The result
// says what was made, for the notes.
func Run(ctx context.Context, tools pgtools.Tools, target string, s settings.Initdb, lock *os.File) (notes.Initdb, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	cmd := tools.Command(ctx, pgtools.Initdb, args(target, s, tools.Major)...)
	if lock != nil {
		cmd.ExtraFiles = []*os.File{lock}
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return notes.Initdb{}, fmt.Errorf("initdb: %w: %s", err, complaint(string(out)))
	}
	return Resolve(s, tools.Major), nil
}

// complaint picks the lines that say what is wrong out of those that say how far it got.
func complaint(out string) string {
	var found []string
	for line := range strings.Lines(out) {
		for _, word := range []string{"error:", "FATAL:", "PANIC:", "detail:", "hint:", "HINT:", "DETAIL:"} {
			if strings.Contains(line, word) {
				found = append(found, strings.TrimSpace(strings.TrimPrefix(line, "initdb: ")))
				break
			}
		}
	}
	if len(found) == 0 {
		return strings.TrimSpace(out)
	}
	return strings.Join(found, "; ")
}
