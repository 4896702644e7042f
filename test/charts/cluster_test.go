package charts

import (
	"testing"

	"helm.sh/helm/v3/pkg/engine"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/dynamic/fake"
	"k8s.io/client-go/kubernetes/scheme"
)

// provider answers the templates' lookup from a set of objects.
type provider struct{ client dynamic.Interface }

func (p provider) GetClientFor(apiVersion, kind string) (dynamic.NamespaceableResourceInterface, bool, error) {
	plural, _ := meta.UnsafeGuessKindToResource(schema.FromAPIVersionAndKind(apiVersion, kind))
	return p.client.Resource(plural), true, nil
}

// cluster holds the live objects that lookup finds; with none it is what `helm template` sees.
func cluster(t testing.TB, live []runtime.Object) engine.ClientProvider {
	t.Helper()
	return provider{fake.NewSimpleDynamicClient(scheme.Scheme, live...)}
}
