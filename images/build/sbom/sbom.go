// Package sbom writes what is in an image as an SPDX 2.3 document: the Debian packages that dpkg knows of and the Go modules that
// our programs were built from. Both are read from the image's own files.
package sbom

import (
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// Package is one thing in an image that has a name and a version of its own.
type Package struct {
	Name    string
	Version string
	// PURL identifies it to tools that look for known vulnerabilities (https://github.com/package-url/purl-spec).
	PURL string
	// Supplier is who maintains it; empty when that is not known.
	Supplier string
	Homepage string
	// Files are the programs it was found in; none for what a package manager installed.
	Files []string
}

// Image says what a document is about.
type Image struct {
	// Name and Version are the image's repository and tag.
	Name, Version string
	// ID is the image's id, hexadecimal; with it, no two images share a document.
	ID      string
	License string
	// Created is when the document was made.
	Created time.Time
}

// Scan lists what is in the file system at root, in an order that depends on nothing else.
func Scan(root string) ([]Package, error) {
	debian, err := debianPackages(root)
	if err != nil {
		return nil, err
	}
	modules, err := goModules(root)
	if err != nil {
		return nil, err
	}
	all := slices.Concat(debian, modules)
	slices.SortFunc(all, func(a, b Package) int { return strings.Compare(a.PURL, b.PURL) })
	return all, nil
}

// Write writes the document about an image.
func Write(w io.Writer, image Image, packages []Package) error {
	if err := spdxjson.Write(document(image, packages), w, spdxjson.Indent("  "), spdxjson.EscapeHTML(false)); err != nil {
		return fmt.Errorf("write the bill of materials: %w", err)
	}
	return nil
}

const noAssertion = "NOASSERTION"

func document(image Image, packages []Package) *spdx.Document {
	license := image.License
	if license == "" {
		license = noAssertion
	}
	self := entry("Image", Package{Name: image.Name, Version: image.Version, Supplier: "pgspan"})
	self.PackageLicenseDeclared = license
	self.PrimaryPackagePurpose = "CONTAINER"
	self.PackageChecksums = []common.Checksum{{Algorithm: common.SHA256, Value: image.ID}}
	doc := &spdx.Document{
		SPDXVersion:       spdx.Version,
		DataLicense:       spdx.DataLicense,
		SPDXIdentifier:    "DOCUMENT",
		DocumentName:      image.Name + "-" + image.Version,
		DocumentNamespace: fmt.Sprintf("https://github.com/pgspan/pgspan/sbom/%s/%s/%s", image.Name, image.Version, image.ID),
		CreationInfo: &spdx.CreationInfo{
			Creators: []common.Creator{
				{CreatorType: "Organization", Creator: "pgspan"},
				{CreatorType: "Tool", Creator: "pgspan-images"},
			},
			Created: image.Created.UTC().Format(time.RFC3339),
		},
		Packages:      []*spdx.Package{self},
		Relationships: []*spdx.Relationship{relation("DOCUMENT", common.TypeRelationshipDescribe, self.PackageSPDXIdentifier)},
	}
	for n, p := range packages {
		e := entry(fmt.Sprintf("%d-%s", n+1, p.Name), p)
		doc.Packages = append(doc.Packages, e)
		doc.Relationships = append(doc.Relationships,
			relation(self.PackageSPDXIdentifier, common.TypeRelationshipContains, e.PackageSPDXIdentifier))
	}
	return doc
}

// notInID is what an SPDX identifier may not hold.
var notInID = regexp.MustCompile(`[^A-Za-z0-9.-]+`)

func entry(id string, p Package) *spdx.Package {
	e := &spdx.Package{
		PackageName:             p.Name,
		PackageSPDXIdentifier:   common.ElementID("Package-" + notInID.ReplaceAllString(id, "-")),
		PackageVersion:          p.Version,
		PackageDownloadLocation: noAssertion,
		PackageLicenseConcluded: noAssertion,
		PackageLicenseDeclared:  noAssertion,
		PackageCopyrightText:    noAssertion,
		PackageHomePage:         p.Homepage,
	}
	if p.Supplier != "" {
		e.PackageSupplier = &common.Supplier{SupplierType: "Organization", Supplier: p.Supplier}
	}
	if p.PURL != "" {
		e.PackageExternalReferences = []*spdx.PackageExternalReference{{
			Category: common.CategoryPackageManager, RefType: common.TypePackageManagerPURL, Locator: p.PURL,
		}}
	}
	if len(p.Files) > 0 {
		e.PackageSourceInfo = "built into: " + strings.Join(p.Files, ", ")
	}
	return e
}

func relation(from common.ElementID, kind string, to common.ElementID) *spdx.Relationship {
	return &spdx.Relationship{
		RefA: common.DocElementID{ElementRefID: from}, Relationship: kind, RefB: common.DocElementID{ElementRefID: to},
	}
}
