// Package podtest is what tests of the programs in a database pod share: the pod's places, the conversation in its control directory as
// keeper has it, and questions to its server. The processes themselves are pgtest's.
package podtest

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/pgtest"
)

// Patience bounds every wait for something that should take a second or two. Test machines are small and busy.
const Patience = 60 * time.Second

// Places are the mounts of a pod besides the volume.
var Places = []string{"control", "conf", "keys", "socket", "settings", "tls"}

// MakePlaces makes them below a directory of the root file system.
func MakePlaces(t testing.TB, root *pgtest.Root, dir string) {
	t.Helper()
	for _, place := range Places {
		root.WriteFile(t, dir+"/"+place+"/.keep", nil, 0o600)
	}
}

// Environment names the places below dir as the chart does.
func Environment(dir string) []string {
	var env []string
	for _, place := range Places {
		env = append(env, "PGSPAN_"+strings.ToUpper(place)+"="+dir+"/"+place)
	}
	return env
}

// Grant writes a grant as keeper does: a file of the pod's user, complete when it is renamed into place. dir is where the places are, as the
// test sees it.
func Grant(dir string, g grant.Grant, uid, gid int) error {
	if err := grant.Write(dir, g); err != nil {
		return err
	}
	beside := filepath.Join(dir, grant.File)
	if err := os.Chown(beside, uid, gid); err != nil {
		return err
	}
	return os.Rename(beside, filepath.Join(dir, "control", grant.File))
}

// AwaitState waits until the state that a life of the pod reports is as wanted. dir is where the places are, as the test sees it.
func AwaitState(t testing.TB, dir, podUID, what string, ok func(grant.State) bool) grant.State {
	t.Helper()
	var last grant.State
	Eventually(t, what, func() (bool, any) {
		s, err := grant.ReadState(filepath.Join(dir, "control"))
		if err != nil && !errors.Is(err, grant.ErrNone) {
			t.Fatal(err)
		}
		last = s
		return err == nil && s.Pod == podUID && ok(s), s
	})
	return last
}

// Eventually waits for a condition, which also says what it saw.
func Eventually(t testing.TB, what string, ok func() (bool, any)) {
	t.Helper()
	var seen any
	for end := time.Now().Add(Patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var good bool
		if good, seen = ok(); good {
			return
		}
	}
	t.Fatalf("not within %v: %s; seen last: %+v", Patience, what, seen)
}

// SQL asks the server behind a socket directory (an inside path), as the superuser with the uid given.
func SQL(root *pgtest.Root, socket string, port, uid, gid int, statements string) (string, error) {
	out, err := root.Run(pgtest.Command{
		Path:  root.BinDir() + "/psql",
		Args:  []string{"-h", socket, "-p", strconv.Itoa(port), "-U", "postgres", "-d", "postgres", "-XqAt", "-v", "ON_ERROR_STOP=1"},
		Stdin: strings.NewReader(statements), UID: uid, GID: gid,
	})
	return strings.TrimSuffix(out, "\n"), err
}

// FreePort is a port that nobody has at this moment.
func FreePort(t testing.TB) int {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
