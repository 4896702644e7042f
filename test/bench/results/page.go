package results

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Page is what people read of a benchmark: docs/bench/<name>.md and its picture.
type Page struct {
	Title string
	Text  string // what is measured, how, and against what
	Run   *Run
	Head  []string
	Rows  [][]string
	Chart *Chart
	Notes []string // what the figures do not say
}

// Finish ends the page's run: it keeps the summary, renders the page and prints the summary as one line of JSON. It fails with what is wrong
// with the figures, if anything is.
func (p Page) Finish(summary any, wrong []string) error {
	if err := p.Run.End(summary); err != nil {
		return err
	}
	if err := p.Write(); err != nil {
		return err
	}
	fmt.Println(string(p.Run.Summary))
	if len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "; "))
	}
	return nil
}

// Write renders the page beside the file of its run, and the picture.
func (p Page) Write() error {
	base := strings.TrimSuffix(p.Run.path, filepath.Ext(p.Run.path))
	var b strings.Builder
	fmt.Fprintf(&b, "# %s\n\n%s\n\n", p.Title, strings.TrimSpace(p.Text))
	least, greatest := p.Run.Loads()
	fmt.Fprintf(&b, "Run of %s, commit %s, on %s; load average %.2f to %.2f.\n", p.Run.Name, p.Run.Setting.Commit, p.Run.Setting.Machine, least, greatest)
	fmt.Fprintf(&b, "All runs, with every sample: [%s](%[1]s).\n\n", filepath.Base(p.Run.path))
	b.WriteString(Table(p.Head, p.Rows))
	for i, n := range p.Notes {
		if i == 0 {
			b.WriteString("\n")
		}
		fmt.Fprintf(&b, "- %s\n", n)
	}
	if p.Chart != nil {
		picture := base + ".svg"
		if err := os.WriteFile(picture, p.Chart.SVG(), 0o644); err != nil {
			return fmt.Errorf("draw results: %w", err)
		}
		fmt.Fprintf(&b, "\n![%s](%s)\n", p.Chart.Title, filepath.Base(picture))
	}
	if err := os.WriteFile(base+".md", []byte(b.String()), 0o644); err != nil {
		return fmt.Errorf("write results: %w", err)
	}
	return nil
}

// Table is a table in Markdown; columns but the first are aligned as numbers are.
func Table(head []string, rows [][]string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "| %s |\n|%s\n", strings.Join(head, " | "), " --- |"+strings.Repeat(" ---: |", len(head)-1))
	for _, r := range rows {
		fmt.Fprintf(&b, "| %s |\n", strings.Join(r, " | "))
	}
	return b.String()
}
