package record

import (
	"slices"
	"strings"
	"time"

	"github.com/pgspan/pgspan/agents/internal/epoch"
)

// Transition is how the right to write came to the holder of Epoch. Each stage was measured by whoever went through it, on its own clock; nothing is
// ever decided by them. It stands in the record until the next one, so that it outlives the pods.
type Transition struct {
	Epoch epoch.Epoch `json:"epoch"`
	// From and To are pods.
	From   string  `json:"from,omitempty"`
	To     string  `json:"to"`
	Stages []Stage `json:"stages,omitempty"`

	unknown extras
}

// Stage is a part of a transition. The unit of Took is that of time.Duration.
type Stage struct {
	Name string   `json:"name"`
	Took Duration `json:"took"`

	unknown extras
}

// Stages in their order. Nobody can write from the beginning of Stop, or of Notice, until both Promote and Proxy are over: those two begin
// together, with Publish.
const (
	Prepare = "prepare" // asking the members and a checkpoint, while the server still writes
	Stop    = "stop"    // shutting the server down and proving that it is
	Notice  = "notice"  // waiting out the lease of a holder that says nothing
	Elect   = "elect"   // from the moment when the record was seen to be free until it was taken
	Promote = "promote" // until the server was seen to write
	Publish = "publish" // until the Service for writing was told
	Proxy   = "proxy"   // from then on until a session through the Service came to the server that writes
)

// Gap is about how long nobody could write through the Service, as far as stages are known.
func (t Transition) Gap() time.Duration {
	took := map[string]time.Duration{}
	for _, s := range t.Stages {
		took[s.Name] = time.Duration(s.Took)
	}
	return took[Stop] + took[Notice] + took[Elect] + max(took[Promote], took[Publish]+took[Proxy])
}

// String is the sentence for people.
func (t Transition) String() string {
	parts := make([]string, 0, len(t.Stages))
	for _, s := range t.Stages {
		parts = append(parts, s.Name+" "+time.Duration(s.Took).Round(time.Millisecond).String())
	}
	from := ""
	if t.From != "" && t.From != t.To {
		from = " follows " + t.From
	}
	return t.To + from + " in epoch " + t.Epoch.String() + ": " + strings.Join(parts, ", ")
}

// Clone returns a copy that shares nothing.
func (t *Transition) Clone() *Transition {
	if t == nil {
		return nil
	}
	c := *t
	c.Stages = slices.Clone(t.Stages)
	return &c
}
