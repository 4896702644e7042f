package sitecerts

import (
	"bytes"
	"crypto/x509"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pgspan/pgspan/tls/keypair"
)

func TestRenewIfDue(t *testing.T) {
	day := 24 * time.Hour
	drop := func(name string) func(Bundle, *Spec) { return func(b Bundle, _ *Spec) { delete(b, name) } }
	for name, tc := range map[string]struct {
		change func(Bundle, *Spec)
		after  time.Duration
		want   string // part of a reason; empty = nothing is due
	}{
		"fresh_is_left_alone":             {},
		"before_two_thirds_left_alone":    {after: 242 * day},
		"past_two_thirds":                 {after: 244 * day, want: "two thirds of its life are over"},
		"expired":                         {after: 400 * day, want: "expired on"},
		"clock_went_back_before_the_leaf": {after: -2 * time.Hour, want: ""}, // the CA is not valid either: an error, see below
		"key_missing":                     {change: drop("pooler.key"), want: "pooler.key is missing"},
		"certificate_missing":             {change: drop("server.crt"), want: "is missing"},
		"key_of_another_pair":             {change: func(b Bundle, _ *Spec) { b["keeper.key"] = b["server.key"] }, want: "does not belong to"},
		"certificate_cut_short":           {change: func(b Bundle, _ *Spec) { b["server.crt"] = b["server.crt"][:300] }, want: "no PEM certificate"},
		"client_in_the_place_of_server":   {change: func(b Bundle, _ *Spec) { b["server.crt"], b["server.key"] = b["keeper.crt"], b["keeper.key"] }, want: "may not be used as a server"},
		"wrong_login":                     {change: func(b Bundle, _ *Spec) { b["pooler.crt"], b["pooler.key"] = b["keeper.crt"], b["keeper.key"] }, want: "common name"},
		"leaf_of_another_ca": {change: func(b Bundle, s *Spec) {
			o, _ := Generate(*s, t0)
			b["keeper.crt"], b["keeper.key"] = o["keeper.crt"], o["keeper.key"]
		}, want: "not signed by a CA"},
		"a_host_moved":        {change: func(_ Bundle, s *Spec) { s.Sites[0].Host = "198.18.1.201" }, want: "names added: 198.18.1.201; names removed: 198.18.1.200"},
		"a_site_was_given_up": {change: func(_ Bundle, s *Spec) { s.Sites = s.Sites[:1] }, want: "names removed: *.orders-members"},
	} {
		t.Run(name, func(t *testing.T) {
			spec := twoSites()
			bundle := generate(t, spec, t0)
			if tc.change != nil {
				tc.change(bundle, &spec)
			}
			before := maps.Clone(bundle)
			now := t0.Add(tc.after)
			next, changes, err := RenewIfDue(bundle, spec, now)
			if tc.after < 0 {
				if err == nil || !strings.Contains(err.Error(), "clock") {
					t.Errorf("got %v, want a sentence about the clock", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if !maps.EqualFunc(before, bundle, bytes.Equal) {
				t.Error("the bundle given was changed")
			}
			if tc.want == "" {
				if len(changes) != 0 || !maps.EqualFunc(next, bundle, bytes.Equal) {
					t.Errorf("got changes %v, want none", changes)
				}
				return
			}
			if !slices.ContainsFunc(changes, func(c Change) bool { return strings.Contains(c.String(), tc.want) }) {
				t.Errorf("got %v, want a reason with %q", changes, tc.want)
			}
			if !bytes.Equal(next[CACert], bundle[CACert]) || !bytes.Equal(next[CAKey], bundle[CAKey]) {
				t.Error("the CA was changed")
			}
			if again, changes, err := RenewIfDue(next, spec, now); err != nil || len(changes) != 0 || len(again) != len(next) {
				t.Errorf("after the renewal got %v %v, want nothing due", changes, err)
			}
		})
	}
}

func TestRenewalsDoNotPileUpAtTheCAsEnd(t *testing.T) {
	spec := twoSites()
	spec.CALife, spec.LeafLife = 100*24*time.Hour, 90*24*time.Hour
	bundle := generate(t, spec, t0)
	renewals := 0
	for at := time.Duration(0); at < spec.CALife; at += 6 * time.Hour {
		next, changes, err := RenewIfDue(bundle, spec, t0.Add(at))
		if err != nil {
			t.Fatal(err)
		}
		if len(changes) > 0 {
			renewals++
		}
		bundle = next
	}
	if renewals != 1 {
		t.Errorf("got %d renewals in the CA's life, want 1", renewals)
	}
	if cert := leafCert(t, bundle, "server"); cert.NotAfter.After(leafCert(t, Bundle{"ca.crt": bundle[CACert]}, "ca").NotAfter) {
		t.Error("the leaf outlives its CA")
	}
}

func TestRenewIfDueRefuses(t *testing.T) {
	spec := twoSites()
	for name, tc := range map[string]struct {
		change func(Bundle)
		after  time.Duration
		want   string
	}{
		"ca_key_missing":         {change: func(b Bundle) { delete(b, CAKey) }, want: "ca.key is missing"},
		"ca_key_of_another_ca":   {change: func(b Bundle) { b[CAKey] = b["server.key"] }, want: "does not belong to any certificate"},
		"ca_expired":             {after: DefaultCALife + time.Hour, want: "ca.crt expired on"},
		"ca_certificate_missing": {change: func(b Bundle) { delete(b, CACert) }, want: "ca.crt is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			bundle := generate(t, spec, t0)
			if tc.change != nil {
				tc.change(bundle)
			}
			next, changes, err := RenewIfDue(bundle, spec, t0.Add(tc.after))
			if err == nil || !strings.Contains(err.Error(), tc.want) || next != nil || changes != nil {
				t.Errorf("got %v %v, want only a sentence with %q", changes, err, tc.want)
			}
		})
	}
}

// TestReplacingTheCA walks the three steps and shows that each short cut is refused.
func TestReplacingTheCA(t *testing.T) {
	spec := twoSites()
	old := generate(t, spec, t0)
	fresh := generate(t, spec, t0)
	both := slices.Concat(old[CACert], fresh[CACert])
	authority := func(cert, key []byte) Authority {
		t.Helper()
		a, err := ParseAuthority("ca.crt", cert, "ca.key", key, t0)
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	refused := func(step string, bundle Bundle, a Authority, want string) {
		t.Helper()
		if _, _, err := Renew(bundle, a, spec, t0); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want a refusal with %q", step, err, want)
		}
	}
	renewed := func(step string, bundle Bundle, a Authority) Bundle {
		t.Helper()
		next, _, err := Renew(bundle, a, spec, t0)
		if err != nil {
			t.Fatalf("%s: %v", step, err)
		}
		return next
	}
	refused("at_once", old, authority(fresh[CACert], fresh[CAKey]), "does not trust the CA that is to sign")
	refused("trust_both_and_sign_with_the_new", old, authority(both, fresh[CAKey]), "does not trust the CA that is to sign")
	first := renewed("trust both", old, authority(both, old[CAKey]))
	refused("drop_the_old_before_reissuing", first, authority(fresh[CACert], fresh[CAKey]), "no longer trust the CA of the certificates now at the sites")
	second := renewed("reissue", first, authority(both, fresh[CAKey]))
	third := renewed("drop the old", second, authority(fresh[CACert], fresh[CAKey]))
	trust, err := keypair.ParseTrust(CACert, third[CACert])
	if err != nil || len(trust.Roots) != 1 {
		t.Fatalf("got %d roots %v, want the new one alone", len(trust.Roots), err)
	}
	pair, _ := third.pair(leafs()[1])
	if err := trust.Check(pair, x509.ExtKeyUsageClientAuth, t0); err != nil {
		t.Error(err)
	}
}

func TestRenewSaysWhatChanges(t *testing.T) {
	spec := twoSites()
	bundle := generate(t, spec, t0)
	ca, err := bundle.Authority(t0)
	if err != nil {
		t.Fatal(err)
	}
	spec.ExtraNames = []string{"db.example"}
	next, changes, err := Renew(bundle, ca, spec, t0.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if len(changes) != len(leafs()) || changes[0].String() != "server.crt: names added: db.example" {
		t.Errorf("got %v, want five changes, the server's by name", changes)
	}
	if bytes.Equal(next["pooler.key"], bundle["pooler.key"]) {
		t.Error("a renewed certificate must have a new key")
	}
}

func TestDaysLeft(t *testing.T) {
	for _, tc := range []struct {
		left time.Duration
		want int
	}{{25 * time.Hour, 1}, {23 * time.Hour, 0}, {-time.Minute, -1}, {-25 * time.Hour, -2}} {
		if got := (Entry{NotAfter: t0.Add(tc.left)}).Days(t0); got != tc.want {
			t.Errorf("%s: got %d, want %d", tc.left, got, tc.want)
		}
	}
}

func TestRenewalByAgeKeepsTheNames(t *testing.T) {
	bundle := generate(t, twoSites(), t0)
	spec, err := SameNames(bundle)
	if err != nil {
		t.Fatal(err)
	}
	if _, changes, err := RenewIfDue(bundle, spec, t0.AddDate(0, 7, 0)); err != nil || len(changes) != 0 {
		t.Errorf("at 7 of 12 months got %v %v, want nothing due", changes, err)
	}
	next, changes, err := RenewIfDue(bundle, spec, t0.AddDate(0, 9, 0))
	if err != nil || len(changes) != len(leafs()) {
		t.Fatalf("at 9 of 12 months got %v %v, want all renewed", changes, err)
	}
	if why := NamesDiffer(next, twoSites()); why != "" {
		t.Error(why)
	}
	if _, err := SameNames(Bundle{}); err == nil {
		t.Error("without a server certificate there are no names to keep")
	}
}
