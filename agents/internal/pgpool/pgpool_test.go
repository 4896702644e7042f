package pgpool

import (
	"testing"

	"sigs.k8s.io/yaml"
)

// TestPgpool runs the pooler with a real pgpool in front of real servers. The cases share a primary and a standby; those that take the
// primary away come last and alone.
func TestPgpool(t *testing.T) {
	c := newCluster(t)
	type topic struct {
		name string
		run  func(*testing.T, *cluster)
	}
	t.Run("together", func(t *testing.T) {
		for _, topic := range []topic{
			{"settings", testSettings},
			{"logins", testLogins},
			{"reads_and_writes", testReadsAndWrites},
			{"password_rotates", testPasswordRotates},
			{"old_password_is_refused", testOldPasswordIsRefused},
			{"broken_secrets", testBrokenSecrets},
			{"certificate_rotates", testCertificateRotates},
			{"cache", testCache},
			{"replicas_gone", testReplicasGone},
			{"ends", testEnds},
		} {
			t.Run(topic.name, func(t *testing.T) {
				t.Parallel()
				topic.run(t, c)
			})
		}
	})
	t.Run("primary_gone", func(t *testing.T) { testPrimaryGone(t, c) })
}

func marshal(t *testing.T, c Config) []byte {
	t.Helper()
	text, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
