package pgpool

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Passwd gives pool_passwd from a directory with one subdirectory for each user that holds the file "password". pgpool needs the
// clear password to prove itself to PostgreSQL by SCRAM (T-64); the file lives in memory and only pgpool's uid can read it.
func Passwd(users string) (string, error) {
	entries, err := os.ReadDir(users)
	if err != nil {
		return "", fmt.Errorf("list users: %w", err)
	}
	var out strings.Builder
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), ".") {
			continue // Kubernetes keeps a Secret's versions in dot directories
		}
		password, err := os.ReadFile(filepath.Join(users, e.Name(), "password"))
		if errors.Is(err, fs.ErrNotExist) {
			return "", fmt.Errorf("user %s: its Secret has no key \"password\"", e.Name())
		}
		if err != nil {
			return "", fmt.Errorf("user %s: %w", e.Name(), err)
		}
		line, err := passwdLine(e.Name(), string(password))
		if err != nil {
			return "", err
		}
		out.WriteString(line)
	}
	return out.String(), nil
}

func passwdLine(user, password string) (string, error) {
	password = strings.TrimSuffix(password, "\n")
	switch {
	case password == "":
		return "", fmt.Errorf("user %s: the password is empty", user)
	case strings.ContainsAny(password, "\n\r"):
		return "", fmt.Errorf("user %s: the password has a line break, which pgpool's password file cannot hold", user)
	case strings.ContainsAny(user, ":\n\r"):
		return "", fmt.Errorf("user %q: a colon or line break in a name cannot be written to pgpool's password file", user)
	}
	return user + ":TEXT" + password + "\n", nil
}
