// Package install copies the agents that run inside somebody else's PostgreSQL image into a volume that image's container mounts.
package install

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Programs are copied from the directory that this program lies in.
var programs = []string{"seed", "guard"}

// Into copies the programs into dir and writes a passwd and a group file beside them with the user that this process runs as. initdb
// and libpq look the user up, and in an image that was made for another user, or under a random one, they would not find it.
func Into(dir string) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("install agents: %w", err)
	}
	for _, name := range programs {
		if err := copyProgram(filepath.Join(filepath.Dir(self), name), filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("install %s: %w", name, err)
		}
	}
	uid, gid := os.Geteuid(), os.Getegid()
	passwd := fmt.Sprintf("postgres:x:%d:%d:PostgreSQL:/tmp:/sbin/nologin\n", uid, gid)
	group := fmt.Sprintf("postgres:x:%d:\n", gid)
	if uid != 0 {
		// Programs that look root up, to say who owns a file, find it too.
		passwd = "root:x:0:0:root:/root:/sbin/nologin\n" + passwd
	}
	for name, content := range map[string]string{"passwd": passwd, "group": group} {
		if err := replace(filepath.Join(dir, name), 0o644, func(f *os.File) error { _, err := f.WriteString(content); return err }); err != nil {
			return fmt.Errorf("install %s: %w", name, err)
		}
	}
	return nil
}

func copyProgram(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	return replace(to, 0o755, func(out *os.File) error { _, err := io.Copy(out, in); return err })
}

// replace renames a complete file into place, so that a container that is restarted while the old program runs does not meet "text
// file busy". The volume is memory: nothing has to last.
func replace(path string, mode fs.FileMode, fill func(*os.File) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // a no-op once renamed
	if err := errors.Join(fill(f), f.Chmod(mode), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
