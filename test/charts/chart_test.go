// Package charts renders the chart pgspan with Helm's own loader and engine and looks at what comes out, as the API server, the agents
// and a reader would. It needs no cluster.
package charts

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/runtime"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"
)

const chartDir = "../../charts/pgspan"

// pgspan loads the chart from the tree once.
var pgspan = sync.OnceValues(func() (*chart.Chart, error) { return loader.Load(chartDir) })

// release is how somebody installs the chart: name, namespace, values as YAML, and what already lies in the cluster.
type release struct {
	name      string
	namespace string
	values    string
	live      []runtime.Object
}

// render returns the rendered files by their path below templates/, empty ones left out; or Helm's error.
func (r release) render(t testing.TB) (map[string]string, error) {
	t.Helper()
	c, err := pgspan()
	if err != nil {
		t.Fatalf("load chart: %v", err)
	}
	values := map[string]any{}
	if err := yaml.Unmarshal([]byte(r.values), &values); err != nil {
		t.Fatalf("the test's own values: %v\n%s", err, r.values)
	}
	options := chartutil.ReleaseOptions{Name: first(r.name, "demo"), Namespace: first(r.namespace, "default"), Revision: 1, IsInstall: r.live == nil, IsUpgrade: r.live != nil}
	all, err := chartutil.ToRenderValues(c, values, options, chartutil.DefaultCapabilities)
	if err != nil {
		return nil, err
	}
	rendered, err := engine.RenderWithClientProvider(c, all, cluster(t, r.live))
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for path, text := range rendered {
		if strings.TrimSpace(text) != "" {
			files[strings.TrimPrefix(path, "pgspan/templates/")] = text
		}
	}
	return files, nil
}

// mustRender is render for values that can work.
func (r release) mustRender(t testing.TB) map[string]string {
	t.Helper()
	files, err := r.render(t)
	if err != nil {
		t.Fatalf("render: %v", err)
	}
	return files
}

// documents splits a rendered file into its YAML documents; those of comments alone are left out.
func documents(t testing.TB, text string) [][]byte {
	t.Helper()
	reader := utilyaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	var docs [][]byte
	for {
		doc, err := reader.Read()
		if errors.Is(err, io.EOF) {
			return docs
		}
		if err != nil {
			t.Fatalf("split documents: %v", err)
		}
		var content any
		if err := yaml.UnmarshalStrict(doc, &content); err != nil {
			t.Fatalf("not YAML: %v\n%s", err, doc)
		}
		if content != nil {
			docs = append(docs, bytes.TrimSpace(doc))
		}
	}
}

// exampleNames lists examples/*.
func exampleNames(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(chartDir, "examples", "*", "values.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no examples found: %v", err)
	}
	var names []string
	for _, path := range paths {
		names = append(names, filepath.Base(filepath.Dir(path)))
	}
	return names
}

func first(candidates ...string) string {
	for _, candidate := range candidates {
		if candidate != "" {
			return candidate
		}
	}
	return ""
}
