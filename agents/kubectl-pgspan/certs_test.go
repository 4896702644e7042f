package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	sitecerts "github.com/pgspan/pgspan/tls"
)

var t0 = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

const commonValues = `
sites:
  leo: {host: 198.18.1.200, port: 5432}
  ait: {host: 198.18.2.200}
`

// person types commands into a directory of her own.
type person struct {
	t   *testing.T
	dir string
	now time.Time
}

func newPerson(t *testing.T) *person {
	p := &person{t, t.TempDir(), t0}
	p.write("values.yaml", []byte(commonValues))
	return p
}

func (p *person) write(name string, data []byte) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), data, 0o600); err != nil {
		p.t.Fatal(err)
	}
}

// certs runs the verb; "@" in an argument stands for the person's directory.
func (p *person) certs(args ...string) (stdout, stderr string, err error) {
	cmd := newCertsCommand(func() time.Time { return p.now })
	var out, errOut bytes.Buffer
	for i, arg := range args {
		args[i] = strings.ReplaceAll(arg, "@", p.dir)
	}
	cmd.SetArgs(append([]string{"--values", p.dir + "/values.yaml", "--release", "db", "-n", "pg"}, args...))
	cmd.SetOut(&out)
	cmd.SetErr(&errOut)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	err = cmd.Execute()
	return out.String(), errOut.String(), err
}

func (p *person) must(args ...string) string {
	p.t.Helper()
	stdout, _, err := p.certs(args...)
	if err != nil {
		p.t.Fatalf("certs %v: %v", args, err)
	}
	return stdout
}

func (p *person) refused(want string, args ...string) {
	p.t.Helper()
	if stdout, _, err := p.certs(args...); err == nil || !strings.Contains(err.Error(), want) {
		p.t.Errorf("certs %v: got %q and %v, want a refusal with %q", args, stdout, err, want)
	}
}

func (p *person) bundle(dir string) sitecerts.Bundle {
	p.t.Helper()
	bundle, err := sitecerts.ReadDirectory(filepath.Join(p.dir, dir))
	if err != nil {
		p.t.Fatal(err)
	}
	return bundle
}

func TestCertsFromFirstRunToRenewal(t *testing.T) {
	p := newPerson(t)
	first := p.must("--out", "@/certs", "--secret=@/secret.yaml")
	if !strings.Contains(first, "365") || !strings.Contains(first, "pgspan_replication") {
		t.Errorf("the report is\n%s\nwant every certificate and its days", first)
	}
	if info, err := os.Stat(p.dir + "/secret.yaml"); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the Secret's file has mode %v %v, want 0600", info.Mode(), err)
	}
	before := p.bundle("certs")

	p.refused("already holds certificates", "--out", "@/certs")
	printed := p.must("--out", "@/certs", "--secret")
	if file, _ := os.ReadFile(p.dir + "/secret.yaml"); printed != string(file) {
		t.Error("the Secret printed from the directory differs from the one written at first")
	}

	p.write("values.yaml", []byte(strings.ReplaceAll(commonValues, "198.18.2.200", "198.18.2.201")))
	p.refused("names added: 198.18.2.201; names removed: 198.18.2.200", "--out", "@/certs", "--secret")
	p.refused("names added: 198.18.2.201", "--out", "@/certs", "--status")
	if got := p.must("--out", "@/certs", "--renew"); !strings.Contains(got, "server.crt: names added: 198.18.2.201") || !strings.Contains(got, "pooler.crt: renewed as asked") {
		t.Errorf("the report of the renewal is\n%s", got)
	}
	after := p.bundle("certs")
	if !bytes.Equal(before["ca.crt"], after["ca.crt"]) || !bytes.Equal(before["ca.key"], after["ca.key"]) || bytes.Equal(before["server.crt"], after["server.crt"]) {
		t.Error("the renewal must keep the CA and replace the rest")
	}

	p.now = t0.AddDate(1, 1, 0)
	p.refused("server.crt expired on 2027-03-01", "--out", "@/certs", "--secret")
	p.must("--out", "@/certs", "--renew")
	p.must("--out", "@/certs", "--status")
}

func TestCertsSecretAloneGoesToStandardOutput(t *testing.T) {
	p := newPerson(t)
	stdout, stderr, err := p.certs("--out", "@/certs", "--secret", "--secret-name", "mine")
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(stdout, "apiVersion: v1\n") || !strings.Contains(stdout, "name: mine") || !strings.Contains(stdout, "namespace: pg\n") || strings.Contains(stdout, "DAYS LEFT") {
		t.Errorf("standard output must be the manifest alone, got\n%s", stdout)
	}
	if !strings.Contains(stderr, "DAYS LEFT") {
		t.Errorf("the report is missing on standard error: %q", stderr)
	}
}

func TestCertsRefusals(t *testing.T) {
	p := newPerson(t)
	p.refused("nothing to write")
	p.refused("the new CA's key would be lost", "--secret")
	p.refused("belong together", "--out", "@/x", "--ca-cert", "@/ca.pem")
	p.refused("need --out DIR", "--renew", "--secret")
	p.refused("at least 1", "--out", "@/x", "--days", "0")
	p.refused("outlive their CA", "--out", "@/x", "--ca-days", "30")
	p.refused("to renew: leave out --renew", "--out", "@/x", "--renew")
	p.refused("there are no certificates in", "--out", "@/x", "--status")
	p.refused("read values", "--out", "@/x", "--values", "@/none.yaml")
	if _, err := os.Stat(p.dir + "/x"); !os.IsNotExist(err) {
		t.Error("a refused command must leave nothing behind")
	}
}

func TestCertsDirectoryIsIncomplete(t *testing.T) {
	p := newPerson(t)
	p.must("--out", "@/certs")
	if err := os.Remove(p.dir + "/certs/keeper.key"); err != nil {
		t.Fatal(err)
	}
	p.refused("holds some of the files only", "--out", "@/certs")
	p.refused("keeper.key is missing", "--out", "@/certs", "--status")
	if got := p.must("--out", "@/certs", "--renew"); !strings.Contains(got, "keeper.key is missing") {
		t.Errorf("the report is\n%s", got)
	}
	if err := os.Remove(p.dir + "/certs/ca.key"); err != nil {
		t.Fatal(err)
	}
	p.refused("holds no ca.key", "--out", "@/certs", "--renew")
}

func TestCertsWithOwnCA(t *testing.T) {
	p := newPerson(t)
	p.must("--out", "@/ca", "--ca-days", "400")
	own := []string{"--ca-cert", "@/ca/ca.crt", "--ca-key", "@/ca/ca.key"}
	p.must(append([]string{"--secret=@/secret.yaml"}, own...)...)
	p.must(append([]string{"--out", "@/certs", "--days", "1000"}, own...)...)
	bundle := p.bundle("certs")
	if _, copied := bundle["ca.key"]; copied {
		t.Error("the key of a person's own CA was copied")
	}
	entries, err := bundle.Entries()
	if err != nil || entries[1].NotAfter.After(entries[0].NotAfter) {
		t.Errorf("the certificates outlive the CA: %v %v", entries, err)
	}
	p.must(append([]string{"--out", "@/certs", "--renew"}, own...)...)

	p.must("--out", "@/other")
	p.refused("does not trust the CA that is to sign", "--out", "@/certs", "--renew", "--ca-cert", "@/other/ca.crt", "--ca-key", "@/other/ca.key")
	p.refused("does not belong to any certificate", "--out", "@/new", "--ca-cert", "@/other/ca.crt", "--ca-key", "@/ca/ca.key")
	p.now = t0.AddDate(2, 0, 0)
	p.refused("expired", append([]string{"--out", "@/new"}, own...)...)
}
