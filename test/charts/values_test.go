package charts

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	yamlnode "go.yaml.in/yaml/v3"
)

// leaf is a documented key of values.yaml: one with a "# --" line, or one that has nothing below it.
type leaf struct {
	path    []string
	comment string
	kind    yamlnode.Kind
}

func (l leaf) String() string { return strings.Join(l.path, ".") }

func valuesNode(t testing.TB) *yamlnode.Node {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var document yamlnode.Node
	if err := yamlnode.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	return document.Content[0]
}

func leaves(node *yamlnode.Node, path []string) []leaf {
	var found []leaf
	for i := 0; i < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		here := append(slices.Clone(path), key.Value)
		documented := strings.Contains(key.HeadComment, "# -- ")
		if value.Kind == yamlnode.MappingNode && len(value.Content) > 0 && !documented {
			found = append(found, leaves(value, here)...)
			continue
		}
		found = append(found, leaf{here, key.HeadComment, value.Kind})
	}
	return found
}

var says = regexp.MustCompile(`\*(restart|reload|empty|Helm)\*|Cannot change|cannot change|cannot shrink|before the first install|As ` + "`")

func TestEveryKeyIsDocumented(t *testing.T) {
	all := leaves(valuesNode(t), nil)
	if len(all) < 150 {
		t.Fatalf("only %d keys found", len(all))
	}
	for _, l := range all {
		if !strings.Contains(l.comment, "# -- ") {
			t.Errorf("%s has no line \"# -- …\"", l)
		} else if !says.MatchString(l.comment) {
			t.Errorf("%s does not say what a change does (*reload*, *restart*, *empty*, *Helm*, or that it cannot change)", l)
		}
	}
}

// schemaNode is a part of values.schema.json.
type schemaNode map[string]any

func valuesSchema(t testing.TB) schemaNode {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(chartDir, "values.schema.json"))
	if err != nil {
		t.Fatal(err)
	}
	var root schemaNode
	if err := json.Unmarshal(text, &root); err != nil {
		t.Fatal(err)
	}
	return root
}

// at follows a path through properties and references; nil where the schema says nothing of it.
func (s schemaNode) at(path ...string) schemaNode {
	node := s
	for _, key := range path {
		properties, _ := node["properties"].(map[string]any)
		next, ok := properties[key].(map[string]any)
		if !ok {
			return nil
		}
		node = s.resolve(next)
	}
	return node
}

func (s schemaNode) resolve(node schemaNode) schemaNode {
	if ref, ok := node["$ref"].(string); ok {
		return s["$defs"].(map[string]any)[strings.TrimPrefix(ref, "#/$defs/")].(map[string]any)
	}
	return node
}

func TestEveryKeyStandsInTheSchemaAndNoOther(t *testing.T) {
	root := valuesSchema(t)
	var documented []string
	for _, l := range leaves(valuesNode(t), nil) {
		documented = append(documented, l.String())
		if root.at(l.path...) == nil {
			t.Errorf("%s is not in the schema", l)
		}
	}
	var walk func(node schemaNode, path string)
	walk = func(node schemaNode, path string) {
		properties, _ := node["properties"].(map[string]any)
		for key, below := range properties {
			here := strings.TrimPrefix(path+"."+key, ".")
			if slices.Contains(documented, here) {
				continue
			}
			inner := root.resolve(below.(map[string]any))
			if _, object := inner["properties"]; !object {
				t.Errorf("%s is in the schema, but not in values.yaml", here)
				continue
			}
			walk(inner, here)
		}
	}
	walk(root, "")
}

// open are the objects that are Kubernetes' or PostgreSQL's, or shared with other charts; everything else is ours and closed.
var open = []string{"global"}

func TestUnknownKeysAreRefusedEverywhere(t *testing.T) {
	tried := 0
	var walk func(node *yamlnode.Node, path []string)
	walk = func(node *yamlnode.Node, path []string) {
		if node.Kind != yamlnode.MappingNode {
			return
		}
		if !slices.Contains(open, strings.Join(path, ".")) {
			tried++
			values := "typo: 1"
			for _, key := range slices.Backward(path) {
				values = key + ": {" + values + "}"
			}
			if _, err := (release{values: values}).render(t); err == nil || !strings.Contains(err.Error(), "'typo' not allowed") {
				t.Errorf("%s: an unknown key gives %v", first(strings.Join(path, "."), "top level"), err)
			}
		}
		for i := 0; i < len(node.Content); i += 2 {
			if !strings.Contains(node.Content[i].HeadComment, "# -- ") {
				walk(node.Content[i+1], append(slices.Clone(path), node.Content[i].Value))
			}
		}
	}
	walk(valuesNode(t), nil)
	if tried < 30 {
		t.Errorf("only %d objects tried", tried)
	}
}

func TestSchemaRefuses(t *testing.T) {
	cases := map[string]struct{ values, want string }{
		"key_of_a_user":            {"users: {app: {pasword: x}}", "/users/app"},
		"key_of_a_database":        {"databases: {app: {owner: app, encoding: UTF8}}", "/databases/app"},
		"database_without_owner":   {"databases: {quay: {}}", "missing property 'owner'"},
		"key_of_a_site":            {"sites: {leo: {hots: x}}", "/sites/leo"},
		"host_with_port":           {"sites: {leo: {host: 'db.example.com:5432'}}", "/sites/leo/host"},
		"host_as_url":              {"sites: {leo: {host: 'https://db.example.com'}}", "/sites/leo/host"},
		"site_in_capitals":         {"sites: {Leo: {host: x}}", "'Leo' does not match"},
		"user_in_capitals":         {"users: {App: {}}", "'App' does not match"},
		"option_with_argument":     {"users: {app: {options: ['CONNECTION LIMIT 3']}}", "/users/app/options"},
		"tls_off":                  {"tls: {mode: 'off'}", "/tls/mode"},
		"replicas_as_text":         {"replicas: '2'", "/replicas"},
		"replicas_negative":        {"replicas: -1", "/replicas"},
		"duration_without_unit":    {"lease: {duration: 10}", "/lease/duration"},
		"duration_in_fractions":    {"lease: {duration: 1.5s}", "/lease/duration"},
		"size_in_fractions":        {"persistence: {size: 1.5Gi}", "/persistence/size"},
		"no_access_mode":           {"persistence: {accessModes: []}", "/persistence/accessModes"},
		"list_parameter":           {"postgresql: {parameters: {search_path: [a, b]}}", "/postgresql/parameters/search_path"},
		"parameter_with_newline":   {"postgresql: {parameters: {\"a\\nb\": x}}", "does not match"},
		"hba_of_two_lines":         {"postgresql: {hba: [\"host all all all md5\\nhost all all all trust\"]}", "/postgresql/hba/0"},
		"wal_segment_no_power":     {"postgresql: {initdb: {walSegmentMB: 48}}", "/postgresql/initdb/walSegmentMB"},
		"digest_without_algorithm": {"database: {image: {digest: 0123}}", "/database/image/digest"},
		"pull_policy":              {"database: {image: {pullPolicy: always}}", "/database/image/pullPolicy"},
		"grace_too_short":          {"database: {terminationGracePeriodSeconds: 10}", "/database/terminationGracePeriodSeconds"},
		"budget_of_nothing":        {"database: {pdb: {maxUnavailable: 0}}", "/database/pdb/maxUnavailable"},
		"environment_as_list":      {"database: {extraEnv: [{name: A, value: b}]}", "/database/extraEnv"},
		"port_too_high":            {"service: {rw: {port: 70000}}", "/service/rw/port"},
		"same_family_twice":        {"service: {ipFamilies: [IPv4, IPv4]}", "/service/ipFamilies"},
		"source_without_mask":      {"service: {cross: {loadBalancerSourceRanges: [198.51.100.1]}}", "/service/cross/loadBalancerSourceRanges"},
		"full_name_in_capitals":    {"fullnameOverride: Quay", "/fullnameOverride"},
		"pgpool_list_with_comma":   {"pgpool: {writeFunctions: ['a,b']}", "/pgpool/writeFunctions/0"},
		"pgpool_setting_quoted":    {"pgpool: {parameters: {child_life_time: \"'1'\"}}", "/pgpool/parameters/child_life_time"},
		"registry_as_url":          {"global: {imageRegistry: 'https://registry.example.org'}", "/global/imageRegistry"},
		"registry_with_slash":      {"agents: {image: {registry: registry.example.org/you/}}", "/agents/image/registry"},
		"mistyped_global":          {"global: {imageRegistery: registry.example.org}", "invalid propertyName 'imageRegistery'"},
		"label_of_two_words":       {"commonLabels: {team: 'a b'}", "/commonLabels/team"},
		"label_that_is_no_text":    {"replica: {podLabels: {a: true}}", "/replica/podLabels/a"},
		"node_label_no_text":       {"replica: {nodeSelector: {ssd: true}}", "/replica/nodeSelector/ssd"},
		"log_level":                {"agents: {logLevel: verbose}", "/agents/logLevel"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := release{values: c.values}.render(t)
			if err == nil || !strings.Contains(err.Error(), "schema") || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want the schema to refuse %s", err, c.want)
			}
		})
	}
}

// TestComponentsHaveTheSameKeysInTheSameOrder: learn one, know all.
func TestComponentsHaveTheSameKeysInTheSameOrder(t *testing.T) {
	want := []string{"image", "resources", "podSecurityContext", "securityContext", "nodeSelector", "antiAffinity", "affinity", "tolerations", "topologySpreadConstraints",
		"priorityClassName", "terminationGracePeriodSeconds", "pdb", "podAnnotations", "podLabels", "extraEnv", "extraEnvFrom", "extraVolumes", "extraVolumeMounts",
		"extraInitContainers", "extraContainers"}
	root := valuesNode(t)
	for i := 0; i < len(root.Content); i += 2 {
		component := root.Content[i].Value
		if component != "database" && component != "pgpool" {
			continue
		}
		var got []string
		for j := 0; j < len(root.Content[i+1].Content); j += 2 {
			if key := root.Content[i+1].Content[j].Value; slices.Contains(want, key) {
				got = append(got, key)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s has\n  %v, want\n  %v", component, got, want)
		}
	}
}

func TestExtrasReachThePods(t *testing.T) {
	const extras = `extraEnv: {PLAIN: 1, FROM: {valueFrom: {fieldRef: {fieldPath: metadata.name}}}}
  extraEnvFrom: [{configMapRef: {name: '{{ .Release.Name }}-env'}}]
  extraVolumes: [{name: more, emptyDir: {medium: Memory, sizeLimit: 1Mi}}]
  extraVolumeMounts: [{name: more, mountPath: /more}]
  extraInitContainers: [{name: before, image: x, resources: {}}]
  extraContainers: [{name: beside, image: x, resources: {}}]
  podAnnotations: {example.com/a: b}
  podLabels: {example.com/c: d, app.kubernetes.io/instance: somebody-else}
  priorityClassName: high`
	values := fmt.Sprintf("database:\n  %s\npgpool:\n  %s\n", extras, extras)
	for _, p := range pods(objects(t, release{values: values}.mustRender(t))) {
		if strings.HasPrefix(p.owner, "Pod ") || strings.HasPrefix(p.owner, "CronJob ") {
			continue // they live for seconds
		}
		main := p.spec.Containers[0]
		env := map[string]string{}
		for _, e := range main.Env {
			env[e.Name] = e.Value
			if e.ValueFrom != nil && e.ValueFrom.FieldRef != nil {
				env[e.Name] = e.ValueFrom.FieldRef.FieldPath
			}
		}
		got := []string{env["PLAIN"], env["FROM"], main.EnvFrom[0].ConfigMapRef.Name, main.VolumeMounts[len(main.VolumeMounts)-1].MountPath,
			p.spec.Volumes[len(p.spec.Volumes)-1].Name, p.spec.InitContainers[0].Name, p.spec.Containers[len(p.spec.Containers)-1].Name,
			p.Annotations["example.com/a"], p.Labels["example.com/c"], p.Labels["app.kubernetes.io/instance"], p.spec.PriorityClassName}
		want := []string{"1", "metadata.name", "demo-env", "/more", "more", "before", "beside", "b", "d", "demo", "high"}
		if !slices.Equal(got, want) {
			t.Errorf("%s has\n  %v, want\n  %v", p.owner, got, want)
		}
	}
}

func TestImages(t *testing.T) {
	cases := map[string]struct{ values, agents, postgres string }{
		"defaults":       {"", "ghcr.io/pgspan/agents:0.1.0", "ghcr.io/pgspan/postgres:17-0.1.0"},
		"other_major":    {"postgresql: {version: 18}", "ghcr.io/pgspan/agents:0.1.0", "ghcr.io/pgspan/postgres:18-0.1.0"},
		"mirror":         {"global: {imageRegistry: 'mirror:5000'}", "mirror:5000/pgspan/agents:0.1.0", "mirror:5000/pgspan/postgres:17-0.1.0"},
		"one_version":    {"global: {imageTag: v9-dirty}", "ghcr.io/pgspan/agents:v9-dirty", "ghcr.io/pgspan/postgres:17-v9-dirty"},
		"own_registry":   {"global: {imageRegistry: mirror, imageTag: x}\ndatabase: {image: {registry: docker.io, repository: library/postgres, tag: '17'}}", "mirror/pgspan/agents:x", "docker.io/library/postgres:17"},
		"tag_and_digest": {"agents: {image: {tag: dev}}\ndatabase: {image: {tag: x, digest: 'sha256:" + strings.Repeat("a", 64) + "'}}", "ghcr.io/pgspan/agents:dev", "ghcr.io/pgspan/postgres@sha256:" + strings.Repeat("a", 64)},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			p := databasePods(objects(t, release{values: c.values}.mustRender(t)))[0]
			if got := container(t, p, "keeper").Image; got != c.agents {
				t.Errorf("agents %s, want %s", got, c.agents)
			}
			if got := container(t, p, "postgres").Image; got != c.postgres {
				t.Errorf("postgres %s, want %s", got, c.postgres)
			}
		})
	}
}
