package sitecerts

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"sigs.k8s.io/yaml"
)

// Values is what the certificates need of the chart's values. Everything else in them is left alone: the chart's own
// schema judges it.
type Values struct {
	FullnameOverride  string                `json:"fullnameOverride"`
	NamespaceOverride string                `json:"namespaceOverride"`
	ClusterDomain     string                `json:"clusterDomain"`
	Sites             map[string]SiteValues `json:"sites"`
	TLS               struct {
		ExtraNames []string `json:"extraNames"`
	} `json:"tls"`
}

// SiteValues is an entry of the site list. Empty fields follow the release as a whole.
type SiteValues struct {
	Host          string `json:"host"`
	Namespace     string `json:"namespace"`
	Release       string `json:"release"`
	Fullname      string `json:"fullname"`
	ClusterDomain string `json:"clusterDomain"`
}

// Release is what Helm is told on its command line and values files do not say.
type Release struct {
	Name          string
	Namespaces    []string
	ClusterDomain string // empty = the values', or cluster.local
	ExtraNames    []string
}

// ReadValues merges values files as Helm does: later ones win, maps are merged, null removes.
func ReadValues(files ...[]byte) (Values, error) {
	merged := map[string]any{}
	for i, file := range files {
		var layer map[string]any
		if err := yaml.UnmarshalStrict(file, &layer); err != nil {
			return Values{}, fmt.Errorf("read values file %d: %w", i+1, err)
		}
		merged = merge(merged, layer)
	}
	text, err := json.Marshal(merged)
	if err != nil {
		return Values{}, fmt.Errorf("merge values: %w", err)
	}
	var values Values
	var wrong *json.UnmarshalTypeError
	if err := json.Unmarshal(text, &values); errors.As(err, &wrong) {
		return Values{}, fmt.Errorf("%s in the values must be %s, not %s", wrong.Field, kind(wrong.Type), wrong.Value)
	} else if err != nil {
		return Values{}, fmt.Errorf("read values: %w", err)
	}
	return values, nil
}

func kind(wanted reflect.Type) string {
	switch wanted.Kind() {
	case reflect.Map, reflect.Struct:
		return "a map"
	case reflect.Slice:
		return "a list"
	default:
		return "a " + wanted.Kind().String()
	}
}

func merge(under, over map[string]any) map[string]any {
	result := map[string]any{}
	maps.Copy(result, under)
	for key, value := range over {
		if value == nil {
			delete(result, key)
			continue
		}
		upper, ok := value.(map[string]any)
		if !ok {
			result[key] = value
			continue
		}
		lower, _ := result[key].(map[string]any)
		result[key] = merge(lower, upper)
	}
	return result
}

// Spec joins the values with what Helm is told beside them. It does not judge: see [Spec.Validate].
func (v Values) Spec(release Release) Spec {
	spec := Spec{ExtraNames: slices.Concat(v.TLS.ExtraNames, release.ExtraNames)}
	sites := v.Sites
	if len(sites) == 0 {
		sites = map[string]SiteValues{"": {}}
	}
	for _, name := range slices.Sorted(maps.Keys(sites)) {
		site := sites[name]
		namespaces := release.Namespaces
		if own := first(site.Namespace, v.NamespaceOverride); own != "" {
			namespaces = []string{own}
		}
		spec.Sites = append(spec.Sites, Site{
			Name:          name,
			Host:          site.Host,
			Fullname:      first(site.Fullname, Fullname(first(v.FullnameOverride, site.Release, release.Name))),
			Namespaces:    namespaces,
			ClusterDomain: first(site.ClusterDomain, release.ClusterDomain, v.ClusterDomain, "cluster.local"),
		})
	}
	return spec
}

// Fullname is the chart's full name for a release, by the rule of its helper pgspan.fullname: what a Service may be called, at
// most 40 characters, a longer name cut and told apart by a digest of the whole.
func Fullname(release string) string {
	safe := strings.ReplaceAll(strings.ToLower(release), ".", "-")
	if safe != "" && safe[0] >= '0' && safe[0] <= '9' {
		safe = "pg-" + safe
	}
	if len(safe) <= 40 {
		return strings.TrimSuffix(safe, "-")
	}
	digest := sha256.Sum256([]byte(release))
	return strings.TrimSuffix(safe[:31], "-") + "-" + hex.EncodeToString(digest[:])[:8]
}

func first(candidates ...string) string {
	for _, candidate := range candidates {
		if candidate != "" {
			return candidate
		}
	}
	return ""
}
