package pgpool

import (
	"flag"
	"os"
	"testing"

	"sigs.k8s.io/yaml"
)

// TestMain lets more cases run at once than there are processors: they mostly wait.
func TestMain(m *testing.M) {
	flag.Parse()
	if err := flag.Set("test.parallel", "8"); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// TestPgpool runs the pooler with a real pgpool in front of real servers. The cases share a primary and a standby; the one that
// kills the primary comes last and alone.
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
			{"primary_unreachable", testPrimaryUnreachable},
			{"ends", testEnds},
		} {
			t.Run(topic.name, func(t *testing.T) {
				t.Parallel()
				topic.run(t, c)
			})
		}
	})
	t.Run("primary_dies", func(t *testing.T) { testPrimaryDies(t, c) })
}

func marshal(t *testing.T, c Config) []byte {
	t.Helper()
	text, err := yaml.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	return text
}
