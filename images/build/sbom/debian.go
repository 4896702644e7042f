package sbom

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// debianPackages reads dpkg's list of what is installed. An image without one has no Debian packages.
func debianPackages(root string) ([]Package, error) {
	f, err := os.Open(filepath.Join(root, "var/lib/dpkg/status"))
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("open dpkg's status: %w", err)
	}
	defer f.Close()
	release, err := os.ReadFile(filepath.Join(root, "usr/lib/os-release"))
	if err != nil {
		return nil, fmt.Errorf("read the image's release: %w", err)
	}
	return parseStatus(f, distro(string(release)))
}

// distro is the release as package URLs name it: "debian-13", or the code name where the release has no number yet.
func distro(release string) string {
	fields := map[string]string{}
	for line := range strings.Lines(release) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok {
			fields[name] = strings.Trim(value, `"`)
		}
	}
	version := fields["VERSION_ID"]
	if version == "" {
		version = fields["VERSION_CODENAME"]
	}
	return fields["ID"] + "-" + version
}

// parseStatus reads stanzas of "Name: value" lines, separated by empty lines; lines that begin with a space go on with the
// field before, and none of the fields wanted here does.
func parseStatus(r io.Reader, distro string) ([]Package, error) {
	var packages []Package
	fields := map[string]string{}
	flush := func() error {
		defer clear(fields)
		if len(fields) == 0 || fields["Status"] != "install ok installed" {
			return nil // configuration that a removed package has left
		}
		name, version, arch := fields["Package"], fields["Version"], fields["Architecture"]
		if name == "" || version == "" || arch == "" {
			return fmt.Errorf("dpkg's status: package %q, version %q, architecture %q: a field is missing", name, version, arch)
		}
		packages = append(packages, Package{
			Name: name, Version: version, Homepage: fields["Homepage"], Supplier: "Debian",
			PURL: fmt.Sprintf("pkg:deb/debian/%s@%s?arch=%s&distro=%s", url.QueryEscape(name), url.QueryEscape(version), arch, distro),
		})
		return nil
	}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // lists of dependencies are long lines
	for lines.Scan() {
		line := lines.Text()
		if line == "" {
			if err := flush(); err != nil {
				return nil, err
			}
			continue
		}
		if name, value, ok := strings.Cut(line, ": "); ok && line[0] != ' ' {
			fields[name] = value
		}
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read dpkg's status: %w", err)
	}
	err := flush()
	return packages, err
}
