package pgtest

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
)

// Password is the password of the superuser postgres in every cluster made here.
const Password = "pgtest-password"

// templateDir keeps one cluster per root file system, which is one per major version and build of the image.
const templateDir = testDir + "/initdb"

// template returns the inside path of a cluster that initdb has made for this root file system, making it when it is
// not there. Several test binaries may ask at once; one makes it, the others wait.
func (r *Root) template() (string, error) {
	gate, err := lockFile(r.Outside(testDir), syscall.LOCK_EX)
	if err != nil {
		return "", err
	}
	defer gate.Close()
	if _, err := os.Stat(r.Outside(templateDir)); err == nil {
		return templateDir, nil
	}
	making := r.run + "/initdb"
	if err := r.initdb(making, nil); err != nil {
		os.RemoveAll(r.Outside(making)) // the next test says the same, instead of "file exists"
		return "", err
	}
	if err := os.Rename(r.Outside(making), r.Outside(templateDir)); err != nil {
		return "", fmt.Errorf("keep the new cluster: %w", err)
	}
	return templateDir, nil
}

// initdb makes a cluster at an inside path with the defaults that our images document.
func (r *Root) initdb(pgdata string, extra []string) error {
	if err := os.Mkdir(r.Outside(pgdata), 0o700); err != nil {
		return fmt.Errorf("make PGDATA: %w", err)
	}
	if err := os.Chown(r.Outside(pgdata), UID, GID); err != nil {
		return fmt.Errorf("give PGDATA to the server's user: %w", err)
	}
	// Beside PGDATA, not in it: initdb wants it empty.
	pwfile := pgdata + ".password"
	if err := os.WriteFile(r.Outside(pwfile), []byte(Password+"\n"), 0o644); err != nil {
		return fmt.Errorf("write the password file: %w", err)
	}
	defer os.Remove(r.Outside(pwfile))
	args := []string{
		"--pgdata", pgdata, "--username", "postgres", "--pwfile", pwfile, "--encoding", "UTF8",
		"--data-checksums", "--auth-local", "trust", "--auth-host", "scram-sha-256", "--no-sync", "--no-instructions",
		"--locale", "C.UTF-8",
	}
	if r.Major >= 17 {
		args = append(args, "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8")
	}
	if _, err := r.Run(Command{Path: r.BinDir() + "/initdb", Args: append(args, extra...)}); err != nil {
		return fmt.Errorf("make a cluster: %w", err)
	}
	return nil
}

// copyTree copies a directory with owners, modes and times. from and to are inside paths, and to must not exist yet.
func (r *Root) copyTree(ctx context.Context, from, to string) error {
	if err := r.mkdirAll(filepath.Dir(to)); err != nil {
		return fmt.Errorf("make the parent of %s: %w", to, err)
	}
	cmd := exec.CommandContext(ctx, "cp", "--archive", "--reflink=auto", "--no-target-directory", r.Outside(from), r.Outside(to))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("copy %s to %s: %w: %s", from, to, err, out)
	}
	return nil
}
