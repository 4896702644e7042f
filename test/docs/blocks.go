// Package docs runs the documentation: every command block of the project's Markdown files is executed by a test in the lab, or says
// in its first line why it is not.
package docs

import (
	"bufio"
	"fmt"
	"io"
	"strings"
)

// Block is one fenced block of shell commands.
type Block struct {
	File  string
	Line  int
	Text  string
	Skip  string // the reason behind "# not run:", empty if the block is to be run
	Shell bool   // the fence says sh, bash or console
}

// Blocks finds the fenced blocks of a Markdown file. A fence without a language is an error: nobody could tell whether it is a command.
func Blocks(file string, r io.Reader) ([]Block, error) {
	var out []Block
	var open *Block
	scan := bufio.NewScanner(r)
	scan.Buffer(nil, 1<<20)
	for n := 1; scan.Scan(); n++ {
		line := scan.Text()
		fence, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && open != nil:
			out = append(out, *open)
			open = nil
		case isFence:
			language := strings.TrimSpace(fence)
			if language == "" {
				return nil, fmt.Errorf("%s:%d: the block does not say its language; commands are sh, output is text", file, n)
			}
			open = &Block{File: file, Line: n, Shell: language == "sh" || language == "bash" || language == "console"}
		case open != nil:
			if reason, ok := strings.CutPrefix(strings.TrimSpace(line), "# not run:"); ok && open.Text == "" {
				open.Skip = strings.TrimSpace(reason)
			}
			open.Text += line + "\n"
		}
	}
	if open != nil {
		return nil, fmt.Errorf("%s:%d: the block is never closed", file, open.Line)
	}
	return out, scan.Err()
}

// Script joins the blocks of one file that are to be run, so that a later one can build on an earlier one. Each says where it begins.
func Script(blocks []Block) string {
	var s strings.Builder
	s.WriteString("set -euo pipefail\n")
	for _, b := range blocks {
		if !b.Shell || b.Skip != "" {
			continue
		}
		fmt.Fprintf(&s, "echo '+++ %s:%d' >&2\n%s", b.File, b.Line, b.Text)
	}
	return s.String()
}
