package builder

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/pgspan/pgspan/images/build/engine"
	"github.com/pgspan/pgspan/images/build/sbom"
)

// WriteBill writes what is in an image to a file and returns the number of packages found.
func (b *Builder) WriteBill(ctx context.Context, built Built, path string) (int, error) {
	id, err := engine.ID(ctx, b.Engine, built.Ref)
	if err != nil {
		return 0, err
	}
	license, err := b.Engine.Label(ctx, built.Ref, "org.opencontainers.image.licenses")
	if err != nil {
		return 0, err
	}
	var packages []sbom.Package
	err = b.Engine.WithRoot(ctx, built.Ref, func(dir string) (err error) {
		packages, err = sbom.Scan(dir)
		return err
	})
	if err != nil {
		return 0, err
	}
	if len(packages) == 0 {
		return 0, fmt.Errorf("no package was found in %s", built.Ref)
	}
	var document bytes.Buffer
	err = sbom.Write(&document, sbom.Image{
		Name: built.Repository, Version: built.TagPrefix + b.Tree.Version, ID: id, License: license, Created: b.Tree.Time,
	}, packages)
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return 0, fmt.Errorf("make the directory of bills: %w", err)
	}
	if err := os.WriteFile(path, document.Bytes(), 0o644); err != nil {
		return 0, fmt.Errorf("write the bill: %w", err)
	}
	return len(packages), nil
}
