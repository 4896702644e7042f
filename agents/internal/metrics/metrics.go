// Package metrics turns what keeper knows into Prometheus samples. What is not known gives no sample: a lag of 0 on a dead link has fooled
// people before.
package metrics

import (
	"net/http"
	"runtime"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/pgspan/pgspan/agents/internal/observed"
)

// collector samples a snapshot at each scrape.
type collector struct {
	version string
	look    func() observed.Snapshot
}

// Handler serves the samples of whatever look returns.
func Handler(version string, look func() observed.Snapshot) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(collector{version, look}, collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, DisableCompression: true})
}

func desc(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("pgspan_"+name, help, labels, nil)
}

var (
	buildInfo    = desc("build_info", "Version of the agents.", "version", "goversion")
	serverUp     = desc("server_up", "Whether the server answers keeper (1) or not (0).")
	role         = desc("role", "1 for the role this member has now; no sample when it has none.", "role")
	leader       = desc("leader", "Whether this member holds the site's record.")
	writable     = desc("writable", "Whether the server says that it is not in recovery.")
	granted      = desc("granted", "Whether this member has the right to write at this moment.")
	epochSite    = desc("epoch_site", "Site part of the epoch in the record.")
	epochLocal   = desc("epoch_local", "Local part of the epoch in the record.")
	timeline     = desc("timeline", "Timeline that the server writes on or replays.")
	person       = desc("needs_person", "1 when nothing goes on until a person acts; the log and the events say what to do.")
	position     = desc("wal_position_bytes", "WAL position: written (primary), received or replayed (standby).", "kind")
	lagBytes     = desc("replication_lag_bytes", "Bytes of WAL that the standby has not replayed.")
	lagSeconds   = desc("replication_lag_seconds", "Age of the last replayed transaction while there is more to replay.")
	linkUp       = desc("replication_link_up", "Whether the standby streams from its upstream and has heard it lately.")
	standbyBytes = desc("standby_lag_bytes", "Bytes of WAL that a connected standby has not flushed or replayed, as this server sees it.", "standby", "kind")
	standbySync  = desc("standby_streaming", "1 for each connected standby that streams.", "standby", "sync_state")
	syncNeeded   = desc("synchronous_needed", "How many members must have a commit on disk before it is acknowledged; no sample in asynchronous mode.", "mode")
	syncSize     = desc("synchronous_set_size", "How many members can acknowledge a commit.", "mode")
	syncState    = desc("synchronous_state", "1 for the state: settled, changing (the set of the server and that of the record differ for now), blocked (nobody can acknowledge a commit).", "state")
	slotActive   = desc("slot_active", "Whether the replication slot is in use.", "slot", "type")
	slotRetained = desc("slot_retained_bytes", "WAL held back by the slot.", "slot", "type")
	slotSafe     = desc("slot_safe_bytes", "WAL that may be written before the slot loses what it needs.", "slot", "type")
	slotSeconds  = desc("slot_safe_seconds", "The same as time, at the present WAL rate and with the volume's free space.", "slot", "type")
	slotStatus   = desc("slot_wal_status", "1 for the slot's present wal_status.", "slot", "status")
	walRate      = desc("wal_bytes_per_second", "WAL written per second, over the last minute.")
	walSize      = desc("wal_directory_bytes", "Size of pg_wal.")
	volumeFree   = desc("volume_free_bytes", "Free space on the volume.")
	volumeSize   = desc("volume_size_bytes", "Size of the volume.")
	pending      = desc("settings_pending_restart", "Settings that were changed and wait for a restart.")
	unusable     = desc("settings_unusable", "Lines of its configuration that the server cannot take. It goes on without them, and would not start again.")
	rolling      = desc("rollout", "The last rollout: 1 for its state. One that has stopped waits for a person.", "state")
	transition   = desc("transition_seconds", "How long each stage of the last change of leaders took that made this member the leader.", "stage")
	connections  = desc("connections", "Client connections.")
	maxConns     = desc("connections_max", "Limit of client connections.")
	renewals     = desc("lease_renewals_total", "Renewals of the record that were confirmed.")
	failures     = desc("lease_renew_failures_total", "Renewals of the record that were not confirmed.")
	failsafe     = desc("failsafe", "Whether this leader's right to write rests on the promises of the other members, because the Kubernetes API cannot be written.")
	writers      = desc("writable_members", "How many members said to the leader that they write, the leader among them. More than one is an alarm whatever the reason.")
	unheard      = desc("unheard_members", "How many members' servers gave the leader no answer when it last asked whether they write.")
	twoWriters   = desc("two_writers", "1 when more than one member writes, or the Service for writing led to another one that took a write.")
	probeFailed  = desc("write_probe_failed", "1 when the leader's last writes through the Service for writing have failed. No sample where none is made.")
	probeSeconds = desc("write_probe_seconds", "How long the leader's last round of questions with a write through the Service for writing took; no sample when it failed.")
	storeAge     = desc("store_answer_age_seconds", "Time since the Kubernetes API last answered a question about the record.")
	stopSeconds  = desc("fence_stop_seconds", "Longest measured time from the decision to fence until no server process was left.")
	certDays     = desc("certificate_days", "Days until the certificate expires.", "certificate")
	loopSeconds  = desc("loop_seconds", "Duration of the last turn of each of keeper's loops.", "loop")
	loopFailures = desc("loop_failures_total", "Turns of a loop that ended with an error.", "loop")
	loopPanics   = desc("loop_panics_total", "Turns of a loop that ended with a panic.", "loop")
)

// Describe implements prometheus.Collector. It names nothing: which samples there are depends on what is known.
func (collector) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (c collector) Collect(ch chan<- prometheus.Metric) {
	s := c.look()
	out := emitter{ch}
	out.gauge(buildInfo, 1, c.version, runtime.Version())
	out.truth(serverUp, s.Server != nil)
	out.truth(leader, s.Leader)
	out.truth(granted, s.Granted)
	out.truth(person, s.Person)
	if !s.Epoch.IsZero() {
		out.gauge(epochSite, float64(s.Epoch.Site))
		out.gauge(epochLocal, float64(s.Epoch.Local))
	}
	if r := s.Role(); r != observed.Unknown {
		out.gauge(role, 1, string(r))
	}
	out.counter(renewals, s.Renewals)
	out.counter(failures, s.Failures)
	out.truth(failsafe, s.Failsafe)
	out.secondLine(s.SecondLine)
	out.maybe(storeAge, s.RenewAge)
	if s.StopSeconds > 0 {
		out.gauge(stopSeconds, s.StopSeconds)
	}
	if s.VolumeFree != nil {
		out.gauge(volumeFree, float64(*s.VolumeFree))
	}
	if s.VolumeSize != nil {
		out.gauge(volumeSize, float64(*s.VolumeSize))
	}
	for stage, seconds := range s.Transition {
		out.gauge(transition, seconds, stage)
	}
	for name, days := range s.Certificates {
		out.gauge(certDays, days, name)
	}
	for name, l := range s.Loops {
		out.gauge(loopSeconds, l.Seconds, name)
		out.counter(loopFailures, l.Failures, name)
		out.counter(loopPanics, l.Panics, name)
	}
	if s.Server != nil {
		out.server(s)
	}
}

// server samples what the server itself has said.
func (out emitter) server(s observed.Snapshot) {
	st := s.Server
	out.truth(writable, !st.InRecovery)
	if st.Timeline != 0 {
		out.gauge(timeline, float64(st.Timeline))
	}
	if st.Current != nil {
		out.gauge(position, float64(*st.Current), "written")
	}
	if st.Received != nil {
		out.gauge(position, float64(*st.Received), "received")
	}
	if st.Replayed != nil {
		out.gauge(position, float64(*st.Replayed), "replayed")
	}
	if st.InRecovery {
		out.truth(linkUp, s.Lag.LinkUp)
		if s.Lag.Bytes != nil {
			out.gauge(lagBytes, float64(*s.Lag.Bytes))
		}
		out.maybe(lagSeconds, s.Lag.Seconds)
	}
	out.maybe(walRate, s.WALPerSecond)
	if f := s.Figures; f != nil {
		out.gauge(walSize, float64(f.WALBytes))
		out.gauge(pending, float64(len(f.PendingRestart)))
		out.gauge(unusable, float64(len(f.Unusable)))
		out.gauge(connections, float64(f.Connections))
		out.gauge(maxConns, float64(f.MaxConnections))
	}
	if s.Rollout != "" {
		out.gauge(rolling, 1, s.Rollout)
	}
	out.synchronous(s.Sync)
	out.standbys(s)
	out.slots(s)
}

func (out emitter) secondLine(s *observed.SecondLine) {
	if s == nil {
		return
	}
	out.gauge(writers, float64(s.Writers))
	out.gauge(unheard, float64(s.Unheard))
	out.truth(twoWriters, s.TwoWriters != "")
	if s.Failed > 0 || s.WriteSeconds != nil {
		out.truth(probeFailed, s.WriteFailed != "")
	}
	out.maybe(probeSeconds, s.WriteSeconds)
}

func (out emitter) synchronous(s *observed.Sync) {
	if s == nil {
		return
	}
	out.gauge(syncNeeded, float64(s.K), s.Mode)
	out.gauge(syncSize, float64(s.Size), s.Mode)
	state := "settled"
	switch {
	case !s.Met:
		state = "blocked"
	case !s.InForce || !s.Recorded:
		state = "changing"
	}
	out.gauge(syncState, 1, state)
}

func (out emitter) standbys(s observed.Snapshot) {
	seen := map[string]bool{}
	for _, r := range s.Senders {
		if seen[r.Name] { // two connections of one name would be two samples of one series
			continue
		}
		seen[r.Name] = true
		if r.State == "streaming" {
			out.gauge(standbySync, 1, r.Name, r.SyncState)
		}
		if s.Server.Current == nil {
			continue
		}
		if r.Flushed != nil {
			out.gauge(standbyBytes, float64(max(s.Server.Current.Sub(*r.Flushed), 0)), r.Name, "flush")
		}
		if r.Replayed != nil {
			out.gauge(standbyBytes, float64(max(s.Server.Current.Sub(*r.Replayed), 0)), r.Name, "replay")
		}
	}
}

func (out emitter) slots(s observed.Snapshot) {
	for _, slot := range s.Slots {
		kind := "logical"
		if slot.Physical {
			kind = "physical"
		}
		out.truth(slotActive, slot.Active, slot.Name, kind)
		if slot.Retained != nil {
			out.gauge(slotRetained, float64(*slot.Retained), slot.Name, kind)
		}
		if slot.WALStatus != nil {
			out.gauge(slotStatus, 1, slot.Name, *slot.WALStatus)
		}
		if slot.SafeBytes == nil {
			continue
		}
		out.gauge(slotSafe, float64(*slot.SafeBytes), slot.Name, kind)
		if s.WALPerSecond == nil || *s.WALPerSecond <= 0 {
			continue
		}
		room := max(*slot.SafeBytes, 0)
		if s.VolumeFree != nil {
			room = min(room, int64(*s.VolumeFree))
		}
		out.gauge(slotSeconds, float64(room) / *s.WALPerSecond, slot.Name, kind)
	}
}

// emitter sends samples.
type emitter struct{ ch chan<- prometheus.Metric }

func (e emitter) gauge(d *prometheus.Desc, v float64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
}

func (e emitter) counter(d *prometheus.Desc, v uint64, labels ...string) {
	e.ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), labels...)
}

func (e emitter) truth(d *prometheus.Desc, v bool, labels ...string) {
	n := 0.0
	if v {
		n = 1
	}
	e.gauge(d, n, labels...)
}

func (e emitter) maybe(d *prometheus.Desc, v *float64) {
	if v != nil {
		e.gauge(d, *v)
	}
}
