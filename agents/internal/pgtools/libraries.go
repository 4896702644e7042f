package pgtools

import (
	"context"
	"debug/elf"
	"os/exec"
	"regexp"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/notes"
)

var (
	icuLibrary   = regexp.MustCompile(`^libicui18n\.so\.([0-9]+)`)
	glibcVersion = regexp.MustCompile(`stable release version ([0-9.]+[0-9])`)
	muslVersion  = regexp.MustCompile(`(?m)^Version ([0-9.]+)`)
)

// libraries tells which libraries sort text for this server: another one can order the keys of an index differently (SAFETY D28).
// What cannot be found out stays empty, which means unknown.
func libraries(ctx context.Context, postgres string) notes.Libraries {
	var l notes.Libraries
	f, err := elf.Open(postgres)
	if err != nil {
		return l
	}
	defer f.Close()
	// An error leaves the list empty.
	needed, _ := f.ImportedLibraries()
	for _, name := range needed {
		if m := icuLibrary.FindStringSubmatch(name); m != nil {
			l.ICU = m[1]
		}
	}
	loader := interpreter(f)
	switch {
	case strings.Contains(loader, "ld-musl"):
		l.Libc, l.LibcVersion = "musl", ask(ctx, muslVersion, loader)
	case loader != "":
		l.Libc, l.LibcVersion = "glibc", ask(ctx, glibcVersion, loader, "--version")
	}
	return l
}

// interpreter is the dynamic loader the program asks for: it belongs to the C library and knows its version.
func interpreter(f *elf.File) string {
	for _, p := range f.Progs {
		if p.Type != elf.PT_INTERP {
			continue
		}
		b := make([]byte, p.Filesz)
		if _, err := p.ReadAt(b, 0); err != nil {
			return ""
		}
		return strings.TrimRight(string(b), "\x00")
	}
	return ""
}

// ask ignores the exit status: musl's loader prints its version and then complains of a missing program.
func ask(ctx context.Context, version *regexp.Regexp, path string, args ...string) string {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	out, _ := exec.CommandContext(ctx, path, args...).CombinedOutput()
	if m := version.FindSubmatch(out); m != nil {
		return string(m[1])
	}
	return ""
}
