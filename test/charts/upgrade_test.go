package charts

import (
	"maps"
	"slices"
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"
)

func TestASetThatIsLiveKeepsItsTemplatesSize(t *testing.T) {
	before := objects(t, release{}.mustRender(t))
	files := release{values: "persistence: {size: 20Gi}", live: applied(before)}.mustRender(t)
	size := named[*appsv1.StatefulSet](t, objects(t, files), "demo-primary").Spec.VolumeClaimTemplates[0].Spec.Resources.Requests.Storage().String()
	if size != "10Gi" {
		t.Errorf("the template says %s: Kubernetes refuses the upgrade", size)
	}
	if !strings.Contains(files["NOTES.txt"], "made with 10Gi. The primary's keeper lets them grow to 20Gi") {
		t.Error("the notes do not say how the volumes grow")
	}
	if waits := "An upgrade restarts no member"; !strings.Contains(files["NOTES.txt"], waits) || strings.Contains(release{}.mustRender(t)["NOTES.txt"], waits) {
		t.Error("the notes of an upgrade, and of no install, say that what needs a restart waits")
	}
	if strings.Contains(release{live: applied(before)}.mustRender(t)["NOTES.txt"], "lets them grow") {
		t.Error("the notes speak of growing when nothing is to grow")
	}
	if got := volumeSize(t, objects(t, files)); got != "20Gi" {
		t.Errorf("keeper is told %s", got)
	}
}

// Argo CD and its like see no live set.
func TestATemplatesSizeStaysWithoutACluster(t *testing.T) {
	all := objects(t, release{values: "persistence: {size: 20Gi, templateSize: 10Gi}"}.mustRender(t))
	size := named[*appsv1.StatefulSet](t, all, "demo-replica").Spec.VolumeClaimTemplates[0].Spec.Resources.Requests.Storage().String()
	if size != "10Gi" || volumeSize(t, all) != "20Gi" {
		t.Errorf("the template says %s, keeper is told %s", size, volumeSize(t, all))
	}
	if _, err := (release{values: "persistence: {size: 5Gi, templateSize: 10Gi}"}).render(t); err == nil || !strings.Contains(err.Error(), "cannot shrink") {
		t.Errorf("a volume that would have to shrink: got %v", err)
	}
}

// volumeSize is what keeper is told.
func volumeSize(t *testing.T, all []runtime.Object) string {
	t.Helper()
	var settings struct {
		VolumeSize string `json:"volumeSize"`
	}
	if err := yaml.Unmarshal([]byte(named[*corev1.ConfigMap](t, all, "demo-settings").Data["settings.yaml"]), &settings); err != nil {
		t.Fatal(err)
	}
	return settings.VolumeSize
}

func TestWhatAVolumeCannotBecomeIsRefused(t *testing.T) {
	before := objects(t, release{values: "persistence: {storageClass: fast}"}.mustRender(t))
	cases := map[string]struct{ values, want string }{
		"smaller":           {"persistence: {storageClass: fast, size: 5Gi}", "cannot shrink a volume"},
		"another_class":     {"persistence: {storageClass: slow}", `persistence.storageClass is "slow", but the volumes of demo-primary were made with "fast"`},
		"class_of_one_set":  {"persistence: {storageClass: fast}\nreplica: {storageClass: slow}", "the volumes of demo-replica were made with"},
		"no_class":          {"", `persistence.storageClass is "", but`},
		"other_access_mode": {"persistence: {storageClass: fast, accessModes: [ReadWriteOnce]}", "persistence.accessModes is ReadWriteOnce, but"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := release{values: c.values, live: applied(before)}.render(t)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
		})
	}
	objects(t, release{values: "persistence: {storageClass: fast}", live: applied(before)}.mustRender(t))
}

func TestEveryTLSModeMountsTheSameFiles(t *testing.T) {
	want := []string{"ca.crt", "keeper.crt", "keeper.key", "pooler.crt", "pooler.key", "replication.crt", "replication.key", "server.crt", "server.key"}
	cases := map[string]string{
		"generated":      "",
		"secret":         "tls: {mode: secret, secret: {name: mine, keys: {ca: root.pem, serverKey: private.pem}}}",
		"cert_manager":   "tls: {mode: certManager, certManager: {issuerRef: {name: company}}}",
		"own_ca_by_cert": "tls: {mode: certManager}",
	}
	for name, values := range cases {
		t.Run(name, func(t *testing.T) {
			for _, p := range databasePods(objects(t, release{values: values}.mustRender(t))) {
				index := slices.IndexFunc(p.spec.Volumes, func(v corev1.Volume) bool { return v.Name == "tls" })
				volume := p.spec.Volumes[index]
				var items []corev1.KeyToPath
				if volume.Secret != nil {
					items = volume.Secret.Items
				} else {
					for _, source := range volume.Projected.Sources {
						items = append(items, source.Secret.Items...)
					}
				}
				var got []string
				for _, item := range items {
					got = append(got, item.Path)
				}
				compare(t, p.owner, got, want)
				if name == "secret" && (items[0].Key != "root.pem" || volume.Secret.SecretName != "mine") {
					t.Errorf("%s takes %s of %s", p.owner, items[0].Key, volume.Secret.SecretName)
				}
			}
		})
	}
}

func TestNumbersStayNumbersInTheSettings(t *testing.T) {
	all := objects(t, release{values: "postgresql: {version: '18', parameters: {max_connections: 300, autovacuum_vacuum_max_threshold: 100000000, vacuum_cost_delay: 0.5, autovacuum: false, work_mem: 64MB}, initdb: {walSegmentMB: 64}}\nusers: {app: {connectionLimit: 0}}"}.mustRender(t))
	var settings struct {
		Major      int `json:"major"`
		PostgreSQL struct {
			Parameters map[string]string `json:"parameters"`
			Initdb     map[string]any    `json:"initdb"`
		} `json:"postgresql"`
		Users map[string]map[string]any `json:"users"`
	}
	if err := yaml.Unmarshal([]byte(named[*corev1.ConfigMap](t, all, "demo-settings").Data["settings.yaml"]), &settings); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"max_connections": "300", "autovacuum_vacuum_max_threshold": "100000000", "vacuum_cost_delay": "0.5", "autovacuum": "off", "work_mem": "64MB"}
	if !maps.Equal(settings.PostgreSQL.Parameters, want) {
		t.Errorf("parameters = %v, want %v", settings.PostgreSQL.Parameters, want)
	}
	if settings.Major != 18 || settings.PostgreSQL.Initdb["walSegmentMB"] != float64(64) || settings.Users["app"]["connectionLimit"] != float64(0) {
		t.Errorf("settings = %+v", settings)
	}
}
