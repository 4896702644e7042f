package keys

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// data is the link that the kubelet moves, in one rename, from one version of a volume to the next; [Place] does the same.
const data = "..data"

// snapshot reads files of one version of a mounted Secret. Read one by one through their links, a certificate could come
// from before a rotation and its key from after. A file that is not there is left out. A directory without ..data is read as
// it is.
func snapshot(dir string, names []string) (map[string][]byte, error) {
	const attempts = 10 // a rotation a minute is the most a kubelet does
	for range attempts {
		version, err := currentVersion(dir)
		if err != nil {
			return nil, err
		}
		files, err := readAll(filepath.Join(dir, version), names)
		if err != nil {
			return nil, err
		}
		after, err := currentVersion(dir)
		if err != nil {
			return nil, err
		}
		if after == version {
			return files, nil
		}
	}
	return nil, fmt.Errorf("read keys: %s changed during each of %d attempts", dir, attempts)
}

// currentVersion is the directory that ..data leads to, or nothing where there is no such link.
func currentVersion(dir string) (string, error) {
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("read keys: %w", err)
	}
	version, err := os.Readlink(filepath.Join(dir, data))
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read keys: %w", err)
	}
	return version, nil
}

func readAll(dir string, names []string) (map[string][]byte, error) {
	files := map[string][]byte{}
	for _, name := range names {
		content, err := os.ReadFile(filepath.Join(dir, name))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			continue
		case errors.Is(err, fs.ErrPermission):
			return nil, fmt.Errorf("read keys as uid %d, gid %d: %w (mount the Secret with defaultMode 0440 and set fsGroup)", os.Geteuid(), os.Getegid(), err)
		case err != nil:
			return nil, fmt.Errorf("read keys: %w", err)
		}
		files[name] = content
	}
	return files, nil
}
