package base

import (
	"context"
	"fmt"
	"strings"

	"github.com/pgspan/pgspan/images/build/engine"
)

// standard is the mirror that mmdebstrap takes by itself, with updates and security.
const standard = "http://deb.debian.org/debian"

// MirrorSet is where this machine gets Debian packages from.
type MirrorSet struct {
	Main string
	// Security is empty when the machine has no such source.
	Security string
}

// Mirrors asks apt. A machine without apt, or that is not Debian, gets Debian's own.
func Mirrors(ctx context.Context, run engine.Runner) (MirrorSet, error) {
	if !run.Has("apt-get") {
		return MirrorSet{Main: standard}, nil
	}
	out, err := run.Output(ctx, "apt-get", "indextargets", "--format", "$(ORIGIN)|$(LABEL)|$(REPO_URI)", "Created-By: Packages")
	if err != nil {
		return MirrorSet{}, fmt.Errorf("ask apt for the mirror: %w", err)
	}
	return parseMirrors(out), nil
}

// parseMirrors takes the first source of each kind, in the order in which the machine lists them.
func parseMirrors(targets string) MirrorSet {
	var set MirrorSet
	for line := range strings.Lines(targets) {
		fields := strings.Split(strings.TrimSpace(line), "|")
		if len(fields) != 3 || fields[0] != "Debian" {
			continue
		}
		uri := strings.TrimRight(fields[2], "/")
		switch {
		case fields[1] == "Debian-Security" && set.Security == "":
			set.Security = uri
		case fields[1] == "Debian" && set.Main == "":
			set.Main = uri
		}
	}
	if set.Main == "" {
		set.Main = standard
	}
	return set
}

// bootstrapArgs are mmdebstrap's arguments. What they leave out of a system is what Debian's own slim images leave out, so that
// an image is alike from either base.
func bootstrapArgs(suite, target string, mirrors MirrorSet) []string {
	args := []string{"--variant=minbase", "--quiet", "--format=tar"}
	for _, opt := range []string{
		"path-exclude=/usr/share/doc/*", "path-include=/usr/share/doc/*/copyright", "path-exclude=/usr/share/man/*",
		"path-exclude=/usr/share/locale/*", "path-exclude=/usr/share/info/*", "path-exclude=/usr/share/lintian/*",
		"path-exclude=/usr/share/groff/*", "path-exclude=/usr/share/linda/*",
	} {
		args = append(args, "--dpkgopt="+opt)
	}
	if suite == "forky" || suite == "sid" {
		// Mirrors of a suite that is not released may lag behind the dates in its Release file. Signatures are still checked.
		args = append(args, `--aptopt=Acquire::Check-Valid-Until "false"`)
	}
	if strings.HasPrefix(mirrors.Main, "https:") {
		args = append(args, "--include=ca-certificates")
	}
	args = append(args, suite, target)
	if mirrors.Main == standard {
		return args
	}
	args = append(args, fmt.Sprintf("deb %s %s main", mirrors.Main, suite), fmt.Sprintf("deb %s %s-updates main", mirrors.Main, suite))
	if mirrors.Security != "" {
		args = append(args, fmt.Sprintf("deb %s %s-security main", mirrors.Security, suite))
	}
	return args
}
