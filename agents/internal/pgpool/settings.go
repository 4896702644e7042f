package pgpool

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// File is the name of pgpool's settings inside its mounted ConfigMap.
const File = "pgpool.yaml"

// Read returns the configuration in dir; unknown keys and values that cannot work are refused, all at once.
func Read(dir string) (Config, error) {
	b, err := os.ReadFile(filepath.Join(dir, File))
	if err != nil {
		return Config{}, fmt.Errorf("read pgpool settings: %w", err)
	}
	var c Config
	if err := yaml.UnmarshalStrict(b, &c); err != nil {
		return Config{}, fmt.Errorf("parse pgpool settings: %w", err)
	}
	if bad := c.Validate(); len(bad) > 0 {
		return Config{}, fmt.Errorf("pgpool settings cannot work: %s", strings.Join(bad, "; "))
	}
	return c, nil
}
