package pgpool

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/xdg-go/stringprep"
)

// longest is what pgpool keeps of a password, in bytes; it cuts off the rest without a word.
const longest = 124

// normal is a password as SCRAM computes with it. PostgreSQL and its clients bring it into that form by themselves, pgpool does not; like
// them this leaves one alone for which there is no such form.
func normal(password string) string {
	if prepared, err := stringprep.SASLprep.Prepare(password); err == nil {
		return prepared
	}
	return password
}

// Accounts are the users that may log in, by name, each with its line of pool_passwd.
type Accounts map[string]string

// ReadAccounts reads a directory with one subdirectory for each user that holds the file "password". A user whose password cannot be
// used keeps the line of before, or has none, and is in the error: the others are not made to wait for that to be mended.
func ReadAccounts(users string, before Accounts) (Accounts, error) {
	entries, err := os.ReadDir(users)
	if err != nil {
		return before, fmt.Errorf("list users: %w", err)
	}
	accounts := Accounts{}
	var problems []error
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue // Kubernetes keeps a Secret's versions in dot directories
		}
		line, err := readAccount(users, e.Name())
		if err != nil {
			problems = append(problems, err)
			line = before[e.Name()]
		}
		if line != "" {
			accounts[e.Name()] = line
		}
	}
	return accounts, errors.Join(problems...)
}

// File is the text of pool_passwd. pgpool needs the clear password to prove itself to PostgreSQL by SCRAM (T-64); the file lies in
// memory and only pgpool's uid can read it.
func (a Accounts) File() string {
	var out strings.Builder
	for _, user := range slices.Sorted(maps.Keys(a)) {
		out.WriteString(a[user])
	}
	return out.String()
}

func readAccount(users, user string) (string, error) {
	password, err := os.ReadFile(filepath.Join(users, user, "password"))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("user %s: its Secret has no key \"password\"", user)
	}
	if err != nil {
		return "", fmt.Errorf("user %s: %w", user, err)
	}
	return passwdLine(user, string(password))
}

// escapes of pool_passwd: a colon ends a field, and a backslash takes the next character as it is.
var escapes = strings.NewReplacer(`\`, `\\`, `:`, `\:`)

func passwdLine(user, password string) (string, error) {
	password = normal(strings.TrimSuffix(password, "\n"))
	switch {
	case password == "":
		return "", fmt.Errorf("user %s: the password is empty", user)
	case strings.ContainsAny(password, "\n\r\x00"):
		return "", fmt.Errorf("user %s: the password has a line break, which pgpool's password file cannot hold", user)
	case len(password) > longest:
		return "", fmt.Errorf("user %s: the password has %d bytes, and pgpool can use %d", user, len(password), longest)
	case strings.ContainsAny(user, "\n\r\x00"):
		return "", fmt.Errorf("user %q: a name with a line break cannot be written to pgpool's password file", user)
	}
	return escapes.Replace(user) + ":TEXT" + escapes.Replace(password) + "\n", nil
}
