package settings_test

import (
	"strings"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/settings"
)

// The ConfigMap of an upgraded release reaches pods that still run the agents of before.
func TestSettingsOfANewerChartAreReadAsFarAsTheyAreKnown(t *testing.T) {
	got, err := settings.Parse([]byte("release: demo\nmajor: 17\nmembers: {primary: 1}\nfromTheFuture: {x: 1}\nfailover: {alsoNew: 3s}\n"))
	if err != nil || got.Release != "demo" || got.Major != 17 || !strings.Contains(got.Ignored, "unknown field") {
		t.Errorf("got %+v, %v", got, err)
	}
	if _, err := settings.Parse([]byte("release: [demo]\n")); err == nil {
		t.Error("a value of another kind is taken")
	}
}
