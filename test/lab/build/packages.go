package build

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// need is something of Debian's that the lab uses, and how to see that it is there.
type need struct {
	pkg string
	// tool is looked for in PATH, file as a pattern; either may be empty.
	tool, file string
}

func needs() []need {
	return []need{
		{pkg: "iproute2", tool: "ip"},
		{pkg: "nftables", tool: "nft"},
		{pkg: "procps", tool: "sysctl"},
		{pkg: "util-linux", tool: "unshare"},
		{pkg: "mount", tool: "losetup"},
		{pkg: "xfsprogs", tool: "mkfs.xfs"},
		{pkg: "gcc", tool: "gcc"},
		{pkg: "libc6-dev", file: "/usr/include/stdio.h"},
		{pkg: "pkg-config", tool: "pkg-config"},
		{pkg: "libseccomp-dev", file: "/usr/include/seccomp.h"},
		{pkg: "ca-certificates", file: "/etc/ssl/certs/ca-certificates.crt"},
	}
}

// Packages installs the Debian packages the lab needs and the machine lacks.
func Packages(ctx context.Context, progress Progress) error {
	var missing []string
	for _, n := range needs() {
		if !n.present() {
			missing = append(missing, n.pkg)
		}
	}
	if len(missing) == 0 {
		return nil
	}
	progress("installing %s", strings.Join(missing, ", "))
	for _, args := range [][]string{{"update", "-q"}, append([]string{"install", "-yq", "--no-install-recommends"}, missing...)} {
		cmd := exec.CommandContext(ctx, "apt-get", args...)
		cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("install %s: apt-get %s: %w: %s", strings.Join(missing, ", "), args[0], err, tail(string(out), 1000))
		}
	}
	return nil
}

func (n need) present() bool {
	if n.file != "" {
		_, err := os.Stat(n.file)
		return err == nil
	}
	if _, err := exec.LookPath(n.tool); err == nil {
		return true
	}
	// A user's PATH often lacks the folders for administrators.
	return slices.ContainsFunc([]string{"/usr/sbin", "/sbin"}, func(dir string) bool {
		_, err := os.Stat(filepath.Join(dir, n.tool))
		return err == nil
	})
}
