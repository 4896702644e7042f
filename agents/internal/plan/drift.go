package plan

import (
	"fmt"
	"strings"

	"github.com/pgspan/pgspan/agents/internal/notes"
)

// drift compares a full volume with what was asked for when it was made, and with the libraries it was used with.
func drift(f Facts) *Plan {
	if f.Data.Empty {
		return nil
	}
	if text := initdbDrift(f); text != "" {
		return refuse("put the value under postgresql.initdb back: it acts on an empty volume only",
			"the database was made differently from what the chart says now: %s", text)
	}
	change := libraryChange(f.Note.Libraries, f.Tools.Libraries)
	// The builtin provider carries its own rules. Of a clone it is not known how its database was made; a warning has to do.
	if change == "" || f.Note.Initdb == nil || f.Note.Initdb.LocaleProvider == "builtin" || f.Settings.PostgreSQL.AllowCollationChange {
		return nil
	}
	return refuse("go back to an image of the same distribution release, or set postgresql.allowCollationChange and reindex text afterwards",
		"the image sorts text by other libraries than the data was written with (%s), so indexes may be wrong", change)
}

// initdbDrift names the first explicit value that the data does not have. Values that are left out follow the data.
func initdbDrift(f Facts) string {
	want, c := f.Settings.PostgreSQL.Initdb, f.Data.Control
	if want.NoChecksums && c.Checksums {
		return "noChecksums is set and the data has checksums"
	}
	if size := int64(want.WALSegmentMB) << 20; size != 0 && size != c.WALSegment {
		return fmt.Sprintf("walSegmentMB is %d and the data has %d", want.WALSegmentMB, c.WALSegment>>20)
	}
	if f.Note.Initdb == nil {
		return "" // it was cloned; the source was made as its own note says
	}
	made := *f.Note.Initdb
	for _, v := range []struct{ name, want, made string }{
		{"encoding", want.Encoding, made.Encoding},
		{"localeProvider", want.LocaleProvider, made.LocaleProvider},
		{"locale", want.Locale, made.Locale},
		{"icuLocale", want.ICULocale, made.ICULocale},
	} {
		if v.want != "" && plain(v.want) != plain(v.made) {
			return fmt.Sprintf("%s is %q and the data was made with %q", v.name, v.want, v.made)
		}
	}
	return ""
}

// plain removes what makes no difference to PostgreSQL in names of encodings and locales: UTF-8 and utf8 are one.
func plain(name string) string {
	return strings.ToLower(strings.NewReplacer("-", "", "_", "").Replace(name))
}

// libraryChange says how text is sorted differently; empty when it is not, or when either side is unknown.
func libraryChange(was, is notes.Libraries) string {
	var changes []string
	for _, v := range []struct{ name, was, is string }{
		{"C library", was.Libc, is.Libc},
		{"version of the C library", was.LibcVersion, is.LibcVersion},
		{"ICU", was.ICU, is.ICU},
	} {
		if v.was != "" && v.is != "" && v.was != v.is {
			changes = append(changes, fmt.Sprintf("%s %s, was %s", v.name, v.is, v.was))
		}
	}
	return strings.Join(changes, "; ")
}

// warnings are worth a line in the log at each start.
func warnings(f Facts) []string {
	var w []string
	if change := libraryChange(f.Note.Libraries, f.Tools.Libraries); change != "" {
		w = append(w, "text may sort differently than when indexes were made ("+change+"): look for collation version mismatches and reindex what uses them")
	}
	if f.Data.Control != nil && !f.Data.Control.Checksums {
		w = append(w, "the database has no data checksums: damage on disk is not noticed")
	}
	if f.WAL != nil && f.WAL.Problem != "" {
		w = append(w, "how far the WAL goes is known from the control file only, and may be further: "+f.WAL.Problem)
	}
	if missing := f.Tools.Missing(); len(missing) > 0 {
		w = append(w, "the image has no "+strings.Join(missing, ", ")+": what needs them is done without")
	}
	return w
}
