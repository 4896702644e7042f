package pgpool

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// putPassword lays a user's Secret down as Kubernetes mounts it.
func putPassword(t *testing.T, users, user, password string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(users, user), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(users, user, "password"), []byte(password), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReadAccounts(t *testing.T) {
	dir := t.TempDir()
	putPassword(t, dir, "app", `s3cret:with=all'so\rts`+"\n")
	putPassword(t, dir, "reader", "x")
	putPassword(t, dir, `a\b`, "x")
	if err := os.Mkdir(filepath.Join(dir, "..data"), 0o700); err != nil {
		t.Fatal(err)
	}
	accounts, err := ReadAccounts(dir, nil)
	want := `a\\b:TEXTx` + "\n" + `app:TEXTs3cret\:with=all'so\\rts` + "\nreader:TEXTx\n"
	if got := accounts.File(); err != nil || got != want {
		t.Errorf("got %q, %v; want %q", got, err, want)
	}
}

func TestOneBadPasswordDoesNotShutOutTheOthers(t *testing.T) {
	cases := map[string]struct{ password, want string }{
		"empty":             {"", "empty"},
		"line_break":        {"two\nlines", "line break"},
		"nul":               {"two\x00halves", "line break"},
		"longer_than_taken": {strings.Repeat("x", longest+1), "pgpool can use"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			putPassword(t, dir, "app", "good")
			putPassword(t, dir, "broken", c.password)
			first, err := ReadAccounts(dir, nil)
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), "broken") {
				t.Errorf("error %v; want %q and the user's name in it", err, c.want)
			}
			if c.password != "" && strings.Contains(err.Error(), c.password) {
				t.Error("the password is in the error")
			}
			if got, want := first.File(), "app:TEXTgood\n"; got != want {
				t.Errorf("at the start: got %q, want %q", got, want)
			}
			again, _ := ReadAccounts(dir, Accounts{"app": "app:TEXTold\n", "broken": "broken:TEXTold\n", "gone": "gone:TEXTold\n"})
			if got, want := again.File(), "app:TEXTgood\nbroken:TEXTold\n"; got != want {
				t.Errorf("later: got %q, want %q", got, want)
			}
		})
	}
}

func TestUsersThatCannotBeListedKeepTheirPasswords(t *testing.T) {
	before := Accounts{"app": "app:TEXTold\n"}
	got, err := ReadAccounts(filepath.Join(t.TempDir(), "gone"), before)
	if err == nil || got.File() != before.File() {
		t.Errorf("got %q, %v; want what was before, and an error", got.File(), err)
	}
}

func TestMissingPasswordKeyIsNamed(t *testing.T) {
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "app"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := ReadAccounts(dir, nil); err == nil || !strings.Contains(err.Error(), `no key "password"`) {
		t.Errorf("got %v", err)
	}
}
