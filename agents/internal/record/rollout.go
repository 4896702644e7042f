package record

// Rollout brings pods to their set's newest revision and servers to settings that wait for a restart, one member at a time. It stands in the
// record, so that whoever leads goes on with it; what is still to be done is looked up each time and never remembered.
type Rollout struct {
	ID     string `json:"id"`
	Reason string `json:"reason,omitempty"`
	// Settings names the chart's settings that every member is to go by (settings.Settings.Fingerprint); empty: those that the leader sees.
	Settings string `json:"settings,omitempty"`
	// Limit is how long it may stand still, Left how much of that is left; counted like an intent's.
	Limit Duration `json:"limit"`
	Left  Duration `json:"left"`
	// Soak is how long the first replaced pod is watched before the next one; Soaked: that was done.
	Soak   Duration `json:"soak,omitempty"`
	Soaked bool     `json:"soaked,omitempty"`
	// Step is the member that is under way; nil: none is.
	Step *Step `json:"step,omitempty"`
	// State is open until the outcome is known. Refused: it has stopped, and Outcome says where and why.
	State   State  `json:"state"`
	Outcome string `json:"outcome,omitempty"`

	unknown extras
}

// Step is one member being restarted.
type Step struct {
	Member string `json:"member"`
	Pod    string `json:"pod"`
	// UID is the pod's that is to be replaced; empty: only the server is restarted, the run that began at Run by its own word.
	UID string `json:"uid,omitempty"`
	Run string `json:"run,omitempty"`
	// Reason is why, for people.
	Reason string `json:"reason,omitempty"`
	// Watched: it is back, and is watched for as long as Soak says.
	Watched bool     `json:"watched,omitempty"`
	Soak    Duration `json:"soak,omitempty"`

	unknown extras
}

// OpenRollout returns the one that is under way.
func (r Record) OpenRollout() (Rollout, bool) {
	if r.Rollout == nil || r.Rollout.State != Open {
		return Rollout{}, false
	}
	return *r.Rollout, true
}

// clone returns a copy that shares nothing.
func (o *Rollout) clone() *Rollout {
	if o == nil {
		return nil
	}
	c := *o
	if o.Step != nil {
		s := *o.Step
		c.Step = &s
	}
	return &c
}
