package pgtest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// The user the images run as, and so the owner of every file a test lays down unless it says otherwise.
const (
	UID = 999
	GID = 999
)

// testDir is where tests keep their files inside a root file system. It is short because the path of a Unix socket may
// not be longer than 107 bytes.
const testDir = "/tmp/pgspan-test"

// Majors are the PostgreSQL major versions that every test of server behaviour runs on. It fails the test when the root
// file system of one of them is missing.
func Majors(t testing.TB) []int {
	t.Helper()
	majors := []int{15, 17, 18}
	for _, major := range majors {
		OpenRoot(t, major)
	}
	return majors
}

// Root is the root file system of one image.
type Root struct {
	// Major is the PostgreSQL major version of a postgres image, and 0 for another one.
	Major int
	// Dir is the root file system's directory as the test sees it.
	Dir string
	// run is this test process's directory below testDir, an inside path.
	run string
}

// OpenRoot finds the root file system for a major version. It fails the test when there is none.
func OpenRoot(t testing.TB, major int) *Root {
	t.Helper()
	root, err := openRoot(fmt.Sprintf("postgres-%d", major), major, binDir(major)+"/initdb")
	if err != nil {
		t.Fatalf("PostgreSQL %d for tests: %v", major, err)
	}
	return root
}

// OpenPgpool finds the root file system of the pgpool image. It fails the test when there is none.
func OpenPgpool(t testing.TB) *Root {
	t.Helper()
	root, err := openRoot("pgpool", 0, "/usr/sbin/pgpool")
	if err != nil {
		t.Fatalf("pgpool for tests: %v", err)
	}
	return root
}

// roots holds what this process has opened: a run directory and its lock must live as long as the process, not the test.
var roots struct {
	sync.Mutex
	byImage map[string]*Root
	locks   []*os.File
}

func openRoot(image string, major int, program string) (*Root, error) {
	roots.Lock()
	defer roots.Unlock()
	if root, ok := roots.byImage[image]; ok {
		return root, nil
	}
	if os.Geteuid() != 0 {
		return nil, fmt.Errorf("run the tests as root: servers are started by chroot")
	}
	dir, err := find(image, program)
	if err != nil {
		return nil, err
	}
	// Held against `make images`, which removes root file systems that nobody uses any more.
	use, err := lockFile(dir, syscall.LOCK_SH)
	if err != nil {
		return nil, err
	}
	root := &Root{Major: major, Dir: dir}
	lock, err := root.claimRun()
	if err != nil {
		use.Close()
		return nil, err
	}
	if roots.byImage == nil {
		roots.byImage = map[string]*Root{}
	}
	roots.byImage[image] = root
	roots.locks = append(roots.locks, use, lock)
	return root, nil
}

// find follows the link that `make images` points at the newest root file system. The link is resolved once, so that an
// image built while tests run does not change the files below them.
func find(image, program string) (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache of root file systems: %w", err)
	}
	link := filepath.Join(cache, "pgspan", "rootfs", image)
	dir, err := filepath.EvalSymlinks(link)
	if err != nil {
		return "", fmt.Errorf("run make images first: %w", err)
	}
	if _, err := os.Stat(filepath.Join(dir, program)); err != nil {
		return "", fmt.Errorf("run make images first: %w", err)
	}
	return dir, nil
}

// claimRun makes this process's directory and removes those of processes that are gone. A directory belongs to whoever
// holds the lock on it; the kernel lets go of the lock when that process dies, however it dies.
func (r *Root) claimRun() (*os.File, error) {
	base := r.Outside(testDir)
	if err := os.MkdirAll(base, 0o755); err != nil {
		return nil, fmt.Errorf("make the directory for tests: %w", err)
	}
	gate, err := lockFile(base, syscall.LOCK_EX)
	if err != nil {
		return nil, err
	}
	defer gate.Close()

	old, err := filepath.Glob(filepath.Join(base, "r*"))
	if err != nil {
		return nil, fmt.Errorf("list directories of earlier runs: %w", err)
	}
	for _, dir := range old {
		lock, err := lockFile(dir, syscall.LOCK_EX|syscall.LOCK_NB)
		if err != nil {
			continue // in use
		}
		err = os.RemoveAll(dir)
		lock.Close()
		if err != nil {
			return nil, fmt.Errorf("remove what an earlier run left: %w", err)
		}
	}

	dir, err := os.MkdirTemp(base, "r")
	if err != nil {
		return nil, fmt.Errorf("make the directory for this run: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, fmt.Errorf("open the directory for this run: %w", err)
	}
	r.run = r.Inside(dir)
	return lockFile(dir, syscall.LOCK_EX)
}

// lockFile opens a file or directory and takes a lock that lasts until it is closed.
func lockFile(path string, how int) (*os.File, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open for locking: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), how); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

// Outside turns a path as a process in the root file system sees it into the path the test sees.
func (r *Root) Outside(inside string) string { return filepath.Join(r.Dir, inside) }

// Inside is the reverse of Outside. It panics on a path that is not in the root file system: the test is wrong.
func (r *Root) Inside(outside string) string {
	rest, ok := strings.CutPrefix(outside, r.Dir+"/")
	if !ok {
		panic(fmt.Sprintf("pgtest: %s is not inside %s", outside, r.Dir))
	}
	return "/" + rest
}

// BinDir is the inside directory of the server's programs.
func (r *Root) BinDir() string { return binDir(r.Major) }

func binDir(major int) string { return fmt.Sprintf("/usr/lib/postgresql/%d/bin", major) }

// TempDir makes an empty directory, mode 0700, owned by the images' user, and returns its inside path. It is removed
// at the end of the test, after the processes that the test started are gone.
func (r *Root) TempDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp(r.Outside(r.run), "t")
	if err != nil {
		t.Fatalf("make a test directory: %v", err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Errorf("remove a test directory: %v", err)
		}
	})
	if err := os.Chown(dir, UID, GID); err != nil {
		t.Fatalf("give a test directory to the server's user: %v", err)
	}
	return r.Inside(dir)
}

// Chown gives everything below an inside path to a user, for tests of images that run as another one.
func (r *Root) Chown(t testing.TB, inside string, uid, gid int) {
	t.Helper()
	err := filepath.WalkDir(r.Outside(inside), func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, uid, gid)
	})
	if err != nil {
		t.Fatalf("chown %s: %v", inside, err)
	}
}
