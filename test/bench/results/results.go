// Package results keeps what benchmarks measure: one file <name>.jsonl for each benchmark, to which every run adds its lines, and pages and
// pictures that are rendered from it. Nothing is ever taken out of such a file, so a run that was interrupted can go on where it
// stopped, and a figure can be traced to the machine, the commit and the load that it was measured with.
package results

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"time"
)

// The kinds of lines.
const (
	kindBegin  = "begin"
	kindSample = "sample"
	kindEnd    = "end"
)

// line is one line of a file. Which fields it has depends on its kind.
type line struct {
	Run  string    `json:"run"` // the time at which the run began names it
	Kind string    `json:"kind"`
	At   time.Time `json:"at"`

	Setting *Setting `json:"setting,omitempty"`
	*Sample
	Summary json.RawMessage `json:"summary,omitempty"`
}

// Setting is what two runs must have in common for one to go on where the other stopped.
type Setting struct {
	Commit     string            `json:"commit"`
	Machine    Machine           `json:"machine"`
	Parameters map[string]string `json:"parameters,omitempty"`
}

// Sample is one thing that was measured.
type Sample struct {
	// Labels say what was measured: {"arm": "plain", "round": "3"}.
	Labels map[string]string `json:"labels"`
	// Values are the figures, with their units in their names: {"seconds": 12.3}.
	Values map[string]float64 `json:"values"`
	// Load is the machine's load average over a minute when the figures were taken.
	Load float64 `json:"load"`
}

// Run is one run of a benchmark.
type Run struct {
	// Name is the time at which the run began.
	Name    string
	Setting Setting
	// Samples are all there are so far, in the order they were taken.
	Samples []Sample
	// Continued: some of them were taken before the run was interrupted.
	Continued bool
	// Summary is nil until the run has ended.
	Summary json.RawMessage

	path string
}

// Open begins a run in the file, or goes on with the file's last one, if that has not ended and its setting was the same.
func Open(path string, setting Setting) (*Run, error) {
	runs, err := Read(path)
	if err != nil {
		return nil, err
	}
	if len(runs) > 0 {
		last := runs[len(runs)-1]
		if last.Summary == nil && reflect.DeepEqual(last.Setting, setting) {
			last.Continued = len(last.Samples) > 0
			return last, nil
		}
	}
	return Begin(path, setting)
}

// Resume is Open for a benchmark that can be asked for more of the same: it goes on with the last run even if that has ended. A later end
// counts instead of the earlier one.
func Resume(path string, setting Setting) (*Run, error) {
	runs, err := Read(path)
	if err != nil {
		return nil, err
	}
	if len(runs) > 0 {
		if last := runs[len(runs)-1]; reflect.DeepEqual(last.Setting, setting) {
			last.Continued = len(last.Samples) > 0
			return last, nil
		}
	}
	return Begin(path, setting)
}

// Begin begins a run whatever there is, for a benchmark that measures one stretch of time.
func Begin(path string, setting Setting) (*Run, error) {
	r := &Run{Name: time.Now().UTC().Format("2006-01-02T15:04:05.000Z"), Setting: setting, path: path}
	return r, r.add(line{Kind: kindBegin, Setting: &setting})
}

// Read returns the runs of a file in their order; none where there is no file. A line that a killed run has left unfinished counts for nothing.
func Read(path string) ([]*Run, error) {
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read results: %w", err)
	}
	var runs []*Run
	for n := 1; len(b) > 0; n++ {
		text, rest, whole := bytes.Cut(b, []byte("\n"))
		b = rest
		var l line
		if err := json.Unmarshal(text, &l); err != nil {
			if !whole {
				break
			}
			return nil, fmt.Errorf("read results: %s, line %d: %w", path, n, err)
		}
		if l.Kind == kindBegin {
			runs = append(runs, &Run{Name: l.Run, Setting: *l.Setting, path: path})
			continue
		}
		i := slices.IndexFunc(runs, func(r *Run) bool { return r.Name == l.Run })
		switch {
		case i < 0:
			return nil, fmt.Errorf("read results: %s, line %d: run %s has no beginning", path, n, l.Run)
		case l.Kind == kindSample && l.Sample != nil:
			runs[i].Samples = append(runs[i].Samples, *l.Sample)
		case l.Kind == kindEnd:
			runs[i].Summary = l.Summary
		}
	}
	return runs, nil
}

// Last returns the newest run that has ended; nil if there is none.
func Last(runs []*Run) *Run {
	for _, r := range slices.Backward(runs) {
		if r.Summary != nil {
			return r
		}
	}
	return nil
}

// Add keeps a sample. It is on the disk when Add returns.
func (r *Run) Add(labels map[string]string, values map[string]float64) error {
	s := Sample{Labels: labels, Values: values, Load: Load()}
	if err := r.add(line{Kind: kindSample, Sample: &s}); err != nil {
		return err
	}
	r.Samples = append(r.Samples, s)
	return nil
}

// Has reports whether a sample with exactly these labels was taken, before an interruption or since.
func (r *Run) Has(labels map[string]string) bool {
	return slices.ContainsFunc(r.Samples, func(s Sample) bool { return reflect.DeepEqual(s.Labels, labels) })
}

// Values returns one figure of all samples that have these labels, and any others besides.
func (r *Run) Values(figure string, labels map[string]string) []float64 {
	var out []float64
	for _, s := range r.Samples {
		if v, ok := s.Values[figure]; ok && has(s.Labels, labels) {
			out = append(out, v)
		}
	}
	return out
}

func has(all, some map[string]string) bool {
	for k, v := range some {
		if all[k] != v {
			return false
		}
	}
	return true
}

// Loads are the least and the greatest load average of the run.
func (r *Run) Loads() (least, greatest float64) {
	for i, s := range r.Samples {
		if i == 0 {
			least = s.Load
		}
		least, greatest = min(least, s.Load), max(greatest, s.Load)
	}
	return least, greatest
}

// End keeps the summary. Open does not go on with the run any more; Resume does.
func (r *Run) End(summary any) error {
	b, err := json.Marshal(summary)
	if err != nil {
		return fmt.Errorf("keep the summary: %w", err)
	}
	r.Summary = b
	return r.add(line{Kind: kindEnd, Summary: b})
}

// add appends a line to the file, after cutting off what a killed run has left unfinished.
func (r *Run) add(l line) (err error) {
	l.Run, l.At = r.Name, time.Now().UTC().Truncate(time.Millisecond)
	b, err := json.Marshal(l)
	if err != nil {
		return fmt.Errorf("keep results: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(r.path), 0o755); err != nil {
		return fmt.Errorf("keep results: %w", err)
	}
	f, err := os.OpenFile(r.path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return fmt.Errorf("keep results: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	old, err := io.ReadAll(f)
	if err != nil {
		return fmt.Errorf("keep results: %w", err)
	}
	whole := bytes.LastIndexByte(old, '\n') + 1
	if err := f.Truncate(int64(whole)); err != nil {
		return fmt.Errorf("keep results: %w", err)
	}
	if _, err := f.WriteAt(append(b, '\n'), int64(whole)); err != nil {
		return fmt.Errorf("keep results: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("keep results: %w", err)
	}
	return nil
}
