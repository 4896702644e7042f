package grant

import (
	"github.com/pgspan/pgspan/agents/internal/boottime"
	"github.com/pgspan/pgspan/agents/internal/epoch"
)

// Phase is what seed or guard is doing with the volume.
type Phase string

const (
	Locking  Phase = "locking"  // waiting for the volume's lock; Reason names its holder
	Waiting  Phase = "waiting"  // inspected, waiting for a grant that lets it go on
	Seeding  Phase = "seeding"  // initdb or base backup under way; Progress tells how far
	Starting Phase = "starting" // the server was started and does not accept connections yet (recovery may take hours)
	Running  Phase = "running"  // the postmaster says it is ready
	Stopping Phase = "stopping" // shutting down
	Stopped  Phase = "stopped"  // no server process holds the volume's lock
	Refused  Phase = "refused"  // the plan refuses; Reason says why and what to do
)

// Server is what the server process is, as guard knows it without asking SQL.
type Server string

const (
	Down      Server = "down"
	Standby   Server = "standby"   // started with standby.signal and never told to promote
	Promoting Server = "promoting" // told to promote; to be treated as a primary (SAFETY D15)
	Writable  Server = "primary"
)

// Volume is what was found on the volume before the server was started.
type Volume struct {
	// Empty: there is neither a data directory nor a note that one existed.
	Empty bool `json:"empty"`
	// Noted is the member id written on the volume by an earlier life; empty if none. Another PVC's id means that this is a copy.
	Noted    string `json:"noted,omitempty"`
	SystemID string `json:"systemID,omitempty"`
	Major    int    `json:"major,omitempty"`
	Timeline uint32 `json:"timeline,omitempty"`
	// WasPrimary is the last epoch and timeline in which this directory was primary.
	WasPrimary  epoch.Epoch `json:"wasPrimary"`
	PrimaryLine uint32      `json:"primaryLine,omitempty"`
	// PrimaryReign is the name of that epoch; empty: noted by a release that gave none.
	PrimaryReign string `json:"primaryReign,omitempty"`
	ClusterState string `json:"clusterState,omitempty"` // pg_controldata's "Database cluster state"
	Checkpoint   string `json:"checkpoint,omitempty"`   // LSN of the latest checkpoint
	OpenJournal  string `json:"openJournal,omitempty"`  // the interrupted step, if any
	// HighestEpoch is the newest epoch this volume has ever seen (SAFETY D12).
	HighestEpoch epoch.Epoch `json:"highestEpoch"`
	// Fenced: a person's word keeps this member stopped, as noted on the volume.
	Fenced bool `json:"fenced,omitempty"`
}

// Progress of a long step. Unknown totals are zero and TotalKnown is false.
type Progress struct {
	Step       string  `json:"step"`
	Bytes      int64   `json:"bytes"`
	Total      int64   `json:"total,omitempty"`
	TotalKnown bool    `json:"totalKnown"`
	PerSecond  float64 `json:"bytesPerSecond"`
	SecondsETA float64 `json:"secondsLeft,omitempty"`
}

// State is what seed and guard report. Only the process that holds, or waits for, the volume's lock writes it.
type State struct {
	Format  int              `json:"format"`
	Writer  string           `json:"writer"` // "seed" or "guard"
	Pod     string           `json:"pod"`    // pod UID of the writer
	Beat    boottime.Instant `json:"beat"`   // when this was written, CLOCK_BOOTTIME; rewritten at least each second
	Seq     uint64           `json:"seq"`    // highest grant sequence acted upon
	Phase   Phase            `json:"phase"`
	Server  Server           `json:"server"`
	Reason  string           `json:"reason,omitempty"`
	Plan    string           `json:"plan,omitempty"` // keep, init, clone, refuse
	Volume  *Volume          `json:"volume,omitempty"`
	Done    *Progress        `json:"progress,omitempty"`
	LastPID int              `json:"postmaster,omitempty"`
	// Began is when the server was started, CLOCK_BOOTTIME. Two servers of one pod can have one process id, because a container that starts anew
	// counts from the beginning; they never have one instant. Zero: no server runs, or an older release started it.
	Began boottime.Instant `json:"began,omitempty"`
	// Vote is the version of the record that the volume notes and on which this server streams from nobody; zero: it does, or may.
	Vote epoch.Version `json:"vote,omitzero"`
	// Ending says that the container was told to end. The server goes on for a while, so that keeper can hand over (SAFETY D40).
	Ending bool `json:"ending,omitempty"`
	// KilledAll says that SIGKILL was sent to every process of the server after a grant ended (SAFETY D11).
	KilledAll bool `json:"killedAll,omitempty"`
	// StopSeconds is the longest measured time from the decision to fence until the lock was free.
	StopSeconds float64 `json:"stopSeconds,omitempty"`
	LastExit    string  `json:"lastExit,omitempty"`
	// Disk is how guard's own small writes to the volume do; nil: none was tried yet.
	Disk *Disk `json:"disk,omitempty"`
	// Settings names the chart's settings that the configuration was last rendered from (settings.Settings.Fingerprint). Raised are settings
	// that are higher in it than they ask for, because a standby must have no less than its primary.
	Settings string   `json:"settings,omitempty"`
	Raised   []string `json:"raised,omitempty"`
}

// Disk tells a slow volume from one that hangs: guard writes one page to it every few seconds, and waits until it is on disk.
type Disk struct {
	// At is when the last write was finished, Seconds what it took, and Problem why it failed.
	At      boottime.Instant `json:"at,omitempty"`
	Seconds float64          `json:"seconds"`
	Problem string           `json:"problem,omitempty"`
	// Since is when a write began that should long have been finished; zero: none waits.
	Since boottime.Instant `json:"since,omitempty"`
}
