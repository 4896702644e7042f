package accounts

import (
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/stringprep"
)

// A SCRAM verifier is what PostgreSQL stores of a password:
//
//	SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>
//
// It is computed here, so that the password itself never reaches the server, its log or its statistics (T-49).
const (
	scheme     = "SCRAM-SHA-256"
	iterations = 4096 // PostgreSQL's default
	saltLength = 16
)

// password is secret: it prints as nothing.
type password string

// String hides the password from logs and errors.
func (password) String() string { return "(hidden)" }

// GoString hides it from %#v.
func (password) GoString() string { return "(hidden)" }

// verifier makes a verifier with a new salt.
func verifier(p password) (string, error) {
	salt := make([]byte, saltLength)
	if _, err := rand.Read(salt); err != nil {
		return "", fmt.Errorf("make a salt: %w", err)
	}
	return derive(p, salt, iterations)
}

func derive(p password, salt []byte, rounds int) (string, error) {
	salted, err := pbkdf2.Key(sha256.New, prepared(p), salt, rounds, sha256.Size)
	if err != nil {
		return "", fmt.Errorf("derive the password's key: %w", err)
	}
	clientKey := mac(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", scheme, rounds, b64(salt), b64(stored[:]), b64(mac(salted, "Server Key"))), nil
}

// prepared normalizes a password as both ends of a login do. What SASLprep forbids is used as it is, as PostgreSQL does.
func prepared(p password) string {
	if s, err := stringprep.SASLprep.Prepare(string(p)); err == nil {
		return s
	}
	return string(p)
}

// matches reports whether a stored verifier is this password's. Anything that is no SCRAM verifier is not.
func matches(p password, stored string) bool {
	rest, ok := strings.CutPrefix(stored, scheme+"$")
	if !ok {
		return false
	}
	head, _, ok := strings.Cut(rest, "$")
	if !ok {
		return false
	}
	count, salt64, ok := strings.Cut(head, ":")
	if !ok {
		return false
	}
	rounds, err := strconv.Atoi(count)
	if err != nil || rounds < 1 || rounds > 1<<20 {
		return false
	}
	salt, err := base64.StdEncoding.DecodeString(salt64)
	if err != nil {
		return false
	}
	want, err := derive(p, salt, rounds)
	return err == nil && subtle.ConstantTimeCompare([]byte(want), []byte(stored)) == 1
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
