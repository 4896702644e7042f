// Package pgtest gives tests real PostgreSQL servers of every supported major version, with no container engine.
//
// The servers come out of the root file systems of our own images, which `make images` leaves in the user's cache. Each
// process is started in a small container of its own making: chroot into the image, its own process ids (it is PID 1, as
// in a pod) and System V IPC, its own mounts with /proc and /dev/shm, and the image's user instead of root. Volumes are
// directories inside the root file system, so two "pods" can be given the same one, which is what tests of locking need.
//
//	func TestReplicaFollows(t *testing.T) {
//		for _, major := range pgtest.Majors(t) {
//			primary := pgtest.New(t, major)
//			primary.Start(t)
//			primary.SQL(t, "CREATE TABLE jobs (id bigint)")
//
//			replica := primary.BaseBackup(t)
//			replica.Start(t)
//			replica.WaitSQL(t, "SELECT count(*) FROM jobs", "0")
//		}
//	}
//
// To run one of our own programs against PGDATA as a pod would:
//
//	root := pgtest.OpenRoot(t, 17)
//	guard := root.Install(t, pgtest.Build(t, "./agents/guard"))
//	volume := root.TempDir(t)
//	p := root.Start(t, pgtest.Command{Path: guard, Args: []string{"run"}, Env: []string{"PGDATA=" + volume + "/pgdata"}})
//	p.Signal(t, syscall.SIGTERM)
//	code := p.Wait(t, 10*time.Second)
//
// Paths come in two kinds. Inside paths are what the process sees ("/tmp/pgspan-test/…/pgdata"); Outside paths are the
// same files as the test sees them. Root.Inside and Root.Outside turn one into the other.
//
// Tests must run as root on Linux. When a root file system is missing the test fails and says so; it is never skipped.
// Everything started here dies with the test binary, also when that is killed, and what a killed run left on disk is
// removed by the next one.
package pgtest
