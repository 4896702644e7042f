package pgconf

import (
	"fmt"
	"strconv"
	"strings"
)

const mb = 1 << 20

// defaults are where we differ from PostgreSQL's own and the user may differ again.
func defaults(in Input) map[string]string {
	need := strconv.Itoa(senders(in))
	conf := map[string]string{
		// Standard error is where Kubernetes looks.
		"log_destination":   "stderr",
		"logging_collector": "off",
		"log_line_prefix":   "%m [%p] %q%u@%d %a ",
		"log_checkpoints":   "on",
		"log_lock_waits":    "on",
		"log_timezone":      "UTC",
		"timezone":          "UTC",
		"datestyle":         "iso, mdy",
		// The databases' own locale has no translations; messages in one language can be searched for.
		"lc_messages":                "C",
		"default_text_search_config": "pg_catalog.english",
		"ssl_min_protocol_version":   "TLSv1.2",
		"max_wal_senders":            need,
		"max_replication_slots":      need,
		"max_slot_wal_keep_size":     megabytes(slotRoom(in)),
		"max_wal_size":               megabytes(walSize(in)),
		// pg_rewind reads a diverged member's WAL from the last checkpoint before the fork on, and a checkpoint after a promotion would
		// remove it. No more than that: a rewind copies all of the leader's pg_wal.
		"wal_keep_size": megabytes(min(walSize(in), 1024*mb)),
		"min_wal_size":  megabytes(max(80*mb, 2*segment(in))),
		// A peer that does not answer holds up a clean shutdown for as long (SAFETY D33).
		"wal_sender_timeout":   "5s",
		"wal_receiver_timeout": "10s",
		// After a crash each file is synced one by one before recovery begins: seconds in which nobody can write. One call does the same.
		"recovery_init_sync_method": "syncfs",
		// A client that vanished with its node is noticed after two minutes and not after two hours.
		"tcp_keepalives_idle":     "60",
		"tcp_keepalives_interval": "10",
		"tcp_keepalives_count":    "6",
	}
	if in.MemoryLimit > 0 {
		conf["shared_buffers"] = megabytes(max(in.MemoryLimit/4, 16*mb))
		conf["effective_cache_size"] = megabytes(max(in.MemoryLimit/4*3, 16*mb))
	}
	return conf
}

// fixedSettings are what high availability and security rest upon and what never changes while a server runs. They stand on the
// command line.
func fixedSettings(in Input) map[string]string {
	fixed := map[string]string{
		"config_file": in.conf(Main),
		"hba_file":    in.conf(HBA),
		"ident_file":  in.conf(Ident),

		"listen_addresses":        "*",
		"port":                    strconv.Itoa(in.Settings.Port),
		"unix_socket_directories": in.Socket,
		"unix_socket_permissions": "0700",
		"cluster_name":            in.Settings.Release,

		"ssl":                 "on",
		"ssl_ca_file":         in.key("ca.crt"),
		"ssl_cert_file":       in.key("server.crt"),
		"ssl_key_file":        in.key("server.key"),
		"password_encryption": "scram-sha-256",

		"wal_level":     "logical",
		"wal_log_hints": "on", // pg_rewind needs it, or checksums
		// off to on needs a restart, so it is on from the first day, with a command that has nothing to do.
		"archive_mode":     "on",
		"hot_standby":      "on",
		"fsync":            "on",
		"full_page_writes": "on",
		// After a failed fsync the kernel may have dropped the pages; going on would lose them silently.
		"data_sync_retry": "off",
		// guard restarts the server, by a plan: recovery in place would go on beside an ended grant.
		"restart_after_crash":      "off",
		"recovery_target_timeline": "latest",
	}
	if in.Major >= 18 {
		// A member that is away for long is the leader's decision, by WAL size.
		fixed["idle_replication_slot_timeout"] = "0"
	}
	return fixed
}

// derivedSettings are ours too but can change by a reload.
func derivedSettings(in Input) map[string]string {
	return map[string]string{
		// A standby looks for its leader, or for more WAL on its own disk, four times a second and not every five seconds: it is without
		// either only around a change of leaders, and then clients wait for it.
		"wal_retrieve_retry_interval": "250ms",
		"archive_command":             strings.ReplaceAll(in.Bin, "%", "%%") + "/guard -noop %p",
	}
}

// elsewhere are settings that are ours although they stand in no layer here, with the place where they belong.
var elsewhere = map[string]string{
	"primary_conninfo":          "the grant says whom a standby streams from",
	"primary_slot_name":         "the grant says which slot a standby uses",
	"synchronous_standby_names": "it follows from the mode of synchronous replication",
	"shared_preload_libraries":  "use postgresql.sharedPreloadLibraries",
	"archive_command":           "archiving is not configured by parameters",
	"archive_library":           "archiving is not configured by parameters",
	"archive_cleanup_command":   "archiving is not configured by parameters",
	"restore_command":           "archiving is not configured by parameters",
	"recovery_end_command":      "recovery is not configured by parameters",
	"recovery_target":           "recovery is not configured by parameters",
	"recovery_target_action":    "recovery is not configured by parameters",
	"recovery_target_inclusive": "recovery is not configured by parameters",
	"recovery_target_lsn":       "recovery is not configured by parameters",
	"recovery_target_name":      "recovery is not configured by parameters",
	"recovery_target_time":      "recovery is not configured by parameters",
	"recovery_target_xid":       "recovery is not configured by parameters",
	"promote_trigger_file":      "promotion is decided by the lease",
	"data_directory":            "it is part of the pod's layout",
	"external_pid_file":         "it is part of the pod's layout",
	"include":                   "files of the image are not part of the configuration",
	"include_dir":               "files of the image are not part of the configuration",
	"include_if_exists":         "files of the image are not part of the configuration",
	"ssl_crl_file":              "certificates come from the mounted Secret",
	"ssl_crl_dir":               "certificates come from the mounted Secret",
	"ssl_passphrase_command":    "certificates come from the mounted Secret",
	"unix_socket_group":         "the socket is keeper's only",
	"ignore_invalid_pages":      "it hides damage that would then be copied to all members",
	"zero_damaged_pages":        "it hides damage that would then be copied to all members",
	"ignore_checksum_failure":   "it hides damage that would then be copied to all members",
}

// senders is how many walsenders, and slots, the members can need at once: each streams and may be cloned again, which takes two more
// connections, plus some for logical decoding, backups and members of other sites. It is the same for every number of members up to a dozen: a
// standby whose max_wal_senders is lower than its leader's pauses replay (T-25), and after a change of the number of replicas members
// that were started before and after it lead each other.
func senders(in Input) int { return max(48, need(in)+12) }

// need is the part of senders without which replication stops.
func need(in Input) int { return 3 * (in.Settings.Members.Primary + in.Settings.Members.Replicas) }

// slotRoom bounds what a slot of an absent member may keep: a full disk stops everybody, a lost slot costs one clone.
func slotRoom(in Input) int64 {
	if in.VolumeSize == 0 {
		return 1024 * mb
	}
	return max(in.VolumeSize/4, 4*segment(in))
}

// walSize is max_wal_size: a tenth of the volume, within PostgreSQL's default of 1 GB below and 8 GB above where the volume has it.
func walSize(in Input) int64 {
	if in.VolumeSize == 0 {
		return 1024 * mb
	}
	return max(min(in.VolumeSize/10, 8192*mb), 4*segment(in))
}

func segment(in Input) int64 {
	switch {
	case in.WALSegment > 0:
		return in.WALSegment
	case in.Settings.PostgreSQL.Initdb.WALSegmentMB > 0:
		return int64(in.Settings.PostgreSQL.Initdb.WALSegmentMB) * mb
	default:
		return 16 * mb
	}
}

func megabytes(bytes int64) string { return fmt.Sprintf("%dMB", bytes/mb) }
