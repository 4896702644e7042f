package pgconf

import (
	"slices"
	"strings"
)

// CleanAuto takes from the text of postgresql.auto.conf what ALTER SYSTEM, or another tool before us, has set against the layers here:
// a stale primary_conninfo in it would win over the grant's. It returns the text without those lines and the names removed, sorted.
func CleanAuto(text string, in Input) (clean string, removed []string) {
	ours := Ours(in)
	var b strings.Builder
	for line := range strings.Lines(text) {
		name := strings.ToLower(autoName(line))
		if slices.Contains(ours, name) {
			removed = append(removed, name)
			continue
		}
		b.WriteString(line)
	}
	slices.Sort(removed)
	return b.String(), slices.Compact(removed)
}

// autoName is the setting that a line is about; empty for comments and blank lines.
func autoName(line string) string {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return ""
	}
	end := strings.IndexAny(line, " \t=")
	if end < 0 {
		return line
	}
	return line[:end]
}
