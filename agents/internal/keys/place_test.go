package keys

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	sitecerts "github.com/pgspan/pgspan/tls"
	"github.com/pgspan/pgspan/tls/keypair"
)

// assertPlaced fails unless dst shows exactly the wanted files of this bundle, each fit for PostgreSQL.
func assertPlaced(t *testing.T, dst string, bundle sitecerts.Bundle, want []Want) {
	t.Helper()
	var shown []string
	entries, err := os.ReadDir(dst)
	if err != nil {
		t.Fatal(err)
	}
	sets := 0
	for _, entry := range entries {
		switch {
		case strings.HasPrefix(entry.Name(), setPrefix):
			sets++
		case entry.Name() != data:
			shown = append(shown, entry.Name())
		}
	}
	wanted := names(want)
	slices.Sort(wanted)
	if !slices.Equal(shown, wanted) || sets != 1 {
		t.Errorf("dst shows %v and %d sets, want %v and 1", shown, sets, wanted)
	}
	for _, name := range wanted {
		content, err := os.ReadFile(filepath.Join(dst, name))
		if err != nil || !bytes.Equal(content, bundle[name]) {
			t.Errorf("%s is not what was to be placed (%v)", name, err)
		}
		info, err := os.Stat(filepath.Join(dst, name))
		if err != nil || info.Mode() != 0o600 || !ownedByUs(info) {
			t.Errorf("%s: %v %v, want 0600 and our own", name, info.Mode(), err)
		}
	}
}

func TestPlaceGroupReadableSource(t *testing.T) {
	bundle := generate(t, oneSite(), t0)
	m := newMount(t, bundle.Shared())
	m.mode = 0o644
	m.rotate(bundle.Shared())
	dst := filepath.Join(t.TempDir(), "keys")
	result, err := Place(m.dir, dst, Database(), t0)
	if err != nil || !result.Changed {
		t.Fatalf("got %+v %v, want a change", result, err)
	}
	assertPlaced(t, dst, bundle, Database())
	if first := result.First(); first.NotAfter.Sub(t0) > sitecerts.DefaultLeafLife+time.Second || int(first.Days(t0)) != 365 {
		t.Errorf("first to end is %+v", first)
	}
	if got := len(result.Certificates); got != 4 || result.Certificates[0].File != CA {
		t.Errorf("got %+v, want the CA and three pairs", result.Certificates)
	}
	again, err := Place(m.dir, dst, Database(), t0)
	if err != nil || again.Changed || len(again.Certificates) != 4 {
		t.Errorf("second time got %+v %v, want no change", again, err)
	}
}

// TestPlaceRefuses shows for each fault that it is named, and that the good set stays.
func TestPlaceRefuses(t *testing.T) {
	spec := oneSite()
	good := generate(t, spec, t0)
	next, stranger := renew(t, good, spec, t0), generate(t, spec, t0)
	past := renew(t, good, spec, t0) // what it is at a later time
	future := renew(t, good, spec, t0.Add(48*time.Hour))
	change := func(name string, content []byte) sitecerts.Bundle {
		return with(next, sitecerts.Bundle{name: content}, name)
	}
	swapped := with(next, sitecerts.Bundle{"server.crt": next["keeper.crt"], "server.key": next["keeper.key"]}, "server.crt", "server.key")
	incomplete := with(next, nil)
	delete(incomplete, "keeper.key")
	for name, tc := range map[string]struct {
		files sitecerts.Bundle
		now   time.Time
		want  string
	}{
		"mismatched_key_pair":             {with(good, next, "server.key"), t0, "server.key does not belong to server.crt"},
		"half_rotated_client":             {with(next, good, "replication.crt"), t0, "replication.key does not belong to replication.crt"},
		"expired":                         {past, t0.AddDate(1, 0, 1), "server.crt expired on 2027-03-01 12:00 UTC"},
		"not_yet_valid":                   {future, t0, "server.crt is not valid before 2026-03-03 11:00 UTC"},
		"wrong_ca":                        {with(next, stranger, "ca.crt"), t0, "is not signed by a CA in ca.crt"},
		"pair_of_another_ca":              {with(next, stranger, "keeper.crt", "keeper.key"), t0, "keeper.crt is not signed by a CA in ca.crt"},
		"server_and_client_swapped":       {swapped, t0, "may not be used as a server certificate"},
		"key_missing":                     {incomplete, t0, "keeper.key is missing from"},
		"key_protected_by_a_passphrase":   {change("server.key", []byte("-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n")), t0, "server.key is protected by a passphrase"},
		"key_is_a_certificate":            {change("server.key", next["server.crt"]), t0, "server.key holds no private key but CERTIFICATE"},
		"certificate_is_empty":            {change("server.crt", nil), t0, "server.crt is empty"},
		"ca_is_a_server_certificate":      {change("ca.crt", next["server.crt"]), t0, "ca.crt holds no CA"},
		"two_faults_are_reported_at_once": {with(next, good, "server.key", "keeper.key"), t0, "keeper.key does not belong"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMount(t, good.Shared())
			dst := t.TempDir()
			if _, err := Place(m.dir, dst, Database(), t0); err != nil {
				t.Fatal(err)
			}
			m.rotate(tc.files.Shared())
			result, err := Place(m.dir, dst, Database(), tc.now)
			var problem *keypair.Problem
			if !errors.As(err, &problem) || problem.Do == "" || !strings.Contains(err.Error(), tc.want) || result.Changed {
				t.Errorf("got %+v and %v, want a problem with %q", result, err, tc.want)
			}
			assertPlaced(t, dst, good, Database())
			if _, err := Read(dst, Database(), t0); err != nil {
				t.Errorf("the set in place is no longer good: %v", err)
			}
		})
	}
}

func TestFaultsOfPairsNotAskedForDoNotMatter(t *testing.T) {
	bundle := generate(t, oneSite(), t0)
	delete(bundle, "pooler.key")
	bundle["operator.crt"] = []byte("damaged")
	dst := t.TempDir()
	if _, err := Place(newMount(t, bundle.Shared()).dir, dst, Database(), t0); err != nil {
		t.Fatal(err)
	}
	assertPlaced(t, dst, bundle, Database())
	if _, err := Place(newMount(t, bundle.Shared()).dir, t.TempDir(), Pooler(), t0); err == nil {
		t.Error("the pooler needs the pair that is missing")
	}
}

func TestSourceThatIsNotThereIsNoProblemButAnError(t *testing.T) {
	_, err := Place(filepath.Join(t.TempDir(), "none"), t.TempDir(), Database(), t0)
	var problem *keypair.Problem
	if !errors.Is(err, os.ErrNotExist) || errors.As(err, &problem) {
		t.Errorf("got %v, want an error that says it could not be found out", err)
	}
}

func TestUmaskThatTakesTheOwnersBits(t *testing.T) {
	m, dst := newMount(t, generate(t, oneSite(), t0).Shared()), t.TempDir()
	defer syscall.Umask(syscall.Umask(0o277))
	if _, err := Place(m.dir, dst, Database(), t0); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(dst, "server.key")); err != nil || info.Mode() != 0o600 {
		t.Errorf("got %v %v, want 0600", info.Mode(), err)
	}
}

func TestWantedFilesBecomeFewer(t *testing.T) {
	bundle := generate(t, oneSite(), t0)
	m, dst := newMount(t, bundle.Shared()), t.TempDir()
	for _, want := range [][]Want{Database(), Keeper(), Database()} {
		if result, err := Place(m.dir, dst, want, t0); err != nil || !result.Changed {
			t.Fatalf("got %+v %v", result, err)
		}
		assertPlaced(t, dst, bundle, want)
	}
}

// TestKilledWhilePlacing lays down what a process leaves when it is killed at each step.
func TestKilledWhilePlacing(t *testing.T) {
	bundle := generate(t, oneSite(), t0)
	next := renew(t, bundle, oneSite(), t0)
	for name, leave := range map[string]func(dst string) error{
		"while_writing_a_set": func(dst string) error {
			if err := os.Mkdir(filepath.Join(dst, setPrefix+"half"), 0o700); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dst, setPrefix+"half", "server.key"), []byte("-----BEG"), 0o600)
		},
		"before_the_rename": func(dst string) error { return os.Symlink(setPrefix+"x", filepath.Join(dst, data+"_next")) },
		"before_the_names":  func(dst string) error { return os.Remove(filepath.Join(dst, "keeper.key")) },
		"key_made_readable": func(dst string) error { return os.Chmod(filepath.Join(dst, "server.key"), 0o640) },
		"key_replaced_by_hand": func(dst string) error {
			return os.WriteFile(filepath.Join(dst, "server.key"), []byte("other"), 0o600)
		},
		"names_are_plain_files": func(dst string) error {
			if err := os.Remove(filepath.Join(dst, "server.key")); err != nil {
				return err
			}
			return os.WriteFile(filepath.Join(dst, "server.key"), []byte("older agents"), 0o600)
		},
	} {
		t.Run(name, func(t *testing.T) {
			m, dst := newMount(t, bundle.Shared()), t.TempDir()
			if _, err := Place(m.dir, dst, Database(), t0); err != nil {
				t.Fatal(err)
			}
			if err := leave(dst); err != nil {
				t.Fatal(err)
			}
			if _, err := Place(m.dir, dst, Database(), t0); err != nil {
				t.Fatal(err)
			}
			assertPlaced(t, dst, bundle, Database())
			m.rotate(next.Shared())
			if result, err := Place(m.dir, dst, Database(), t0); err != nil || !result.Changed {
				t.Fatalf("rotation after it: %+v %v", result, err)
			}
			assertPlaced(t, dst, next, Database())
		})
	}
}

// rotating rotates between two sets as fast as it can until the test ends it.
func rotating(m *mount, sets ...sitecerts.Bundle) (end func()) {
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				m.rotate(sets[i%len(sets)].Shared())
			}
		}
	})
	return func() {
		close(stop)
		running.Wait()
	}
}

// TestRotationDuringReading shows that a reader never sees a mixture, nor a directory that is being removed.
func TestRotationDuringReading(t *testing.T) {
	first := generate(t, oneSite(), t0)
	second := renew(t, first, oneSite(), t0)
	m := newMount(t, first.Shared())
	defer rotating(m, second, first)()
	seen := map[bool]int{}
	for range 2000 {
		files, err := snapshot(m.dir, names(Database()))
		if err != nil {
			t.Fatal(err)
		}
		whole := first
		if !bytes.Equal(files["server.crt"], first["server.crt"]) {
			whole = second
		}
		for _, name := range names(Database()) {
			if !bytes.Equal(files[name], whole[name]) {
				t.Fatalf("%s is missing or of another set", name)
			}
		}
		seen[bytes.Equal(files["server.crt"], first["server.crt"])]++
	}
	if seen[true] == 0 || seen[false] == 0 {
		t.Errorf("no rotation happened while reading: %v", seen)
	}
}

func TestRotationDuringPlacing(t *testing.T) {
	first := generate(t, oneSite(), t0)
	second := renew(t, first, oneSite(), t0)
	m, dst := newMount(t, first.Shared()), t.TempDir()
	defer rotating(m, second, first)()
	for range 50 {
		if _, err := Place(m.dir, dst, Database(), t0); err != nil {
			t.Fatalf("a rotation was mistaken for a fault: %v", err)
		}
		if _, err := Read(dst, Database(), t0); err != nil {
			t.Fatalf("a mixture was placed: %v", err)
		}
	}
}

func TestDescribeExpired(t *testing.T) {
	m := newMount(t, generate(t, oneSite(), t0).Shared())
	certificates, err := Describe(m.dir, Database())
	if err != nil || len(certificates) != 3 {
		t.Fatalf("got %v %v, want three", certificates, err)
	}
	if days := certificates[0].Days(t0.AddDate(2, 0, 0)); days > -364 || days < -366 {
		t.Errorf("got %.1f days left, want about -365", days)
	}
	if _, err := Describe(t.TempDir(), Database()); err == nil {
		t.Error("missing certificates have no days: want an error")
	}
}

func TestSetServesMutualTLS(t *testing.T) {
	bundle := generate(t, oneSite(), t0)
	set, err := Read(newMount(t, bundle.Shared()).dir, Keeper(), t0)
	if err != nil {
		t.Fatal(err)
	}
	pair, ok := set.Pair("keeper")
	if !ok || pair.Leaf.Subject.CommonName != sitecerts.KeeperName || len(pair.Certificate) != 1 {
		t.Errorf("got %v %v", pair.Leaf, ok)
	}
	if _, ok := set.Pair("pooler"); ok {
		t.Error("a pair that was not asked for was returned")
	}
}
