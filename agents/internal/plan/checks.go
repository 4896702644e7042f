package plan

import (
	"fmt"
	"strings"

	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/pgdata"
	"github.com/pgspan/pgspan/agents/internal/pgtools"
)

func refuse(hint, format string, args ...any) *Plan {
	return &Plan{Do: Refuse, Reason: fmt.Sprintf(format, args...), Hint: hint}
}

func wait(format string, args ...any) *Plan {
	return &Plan{Do: Wait, Reason: fmt.Sprintf(format, args...)}
}

// Hints for a volume that cannot become part of this database as it is.
const (
	startAnew = "to have this member cloned anew, delete its PersistentVolumeClaim and then its pod"
	mayBeOnly = "this may be the only copy of the data: keep the volume, and find out what it holds and what the other members hold before anything is deleted"
)

// copied is the hint for a volume that was another member's: a snapshot, a restored namespace, a claim made anew for an old volume.
const copied = "give the pod the volume that was made for its claim; if this one was restored on purpose, keep it until the database runs elsewhere"

// anew tells to throw the volume away only where somebody else is known to hold the database: this member is to follow a leader.
func anew(f Facts) string {
	if g := f.Grant; g != nil && g.Role == grant.Replica && g.Upstream != nil {
		return startAnew
	}
	return mayBeOnly
}

// unrecorded is the grant of a keeper that has not seen the record, because the API does not answer: a standby that streams from nobody,
// for reads. It says nothing about epochs, and perhaps not even which member this is; nothing can go wrong by it.
func unrecorded(g *grant.Grant) bool {
	return g.Role == grant.Replica && g.Upstream == nil && g.Epoch.IsZero()
}

// image checks the server's programs.
func image(f Facts) *Plan {
	if want := f.Settings.Major; want != 0 && f.Tools.Major != want {
		return refuse("set the chart's PostgreSQL version and image to the same major version",
			"the image has PostgreSQL %d and the chart says %d", f.Tools.Major, want)
	}
	return nil
}

// directory checks what can be said of a data directory without knowing the others.
func directory(f Facts) *Plan {
	d := f.Data
	if d.Empty && (!d.Exists || d.UID == f.UID) {
		return nil // modes and the rest are made right with the directory
	}
	if d.UID != f.UID {
		return refuse(fmt.Sprintf("run the pods as user %d, or give pgdata to user %d", d.UID, f.UID),
			"the data directory belongs to user %d and the server runs as user %d", d.UID, f.UID)
	}
	if f.ModeProblem != "" {
		return refuse("PostgreSQL needs mode 0700; look at the volume's mount options",
			"the data directory has mode %04o and that cannot be repaired (%s)", d.Mode, f.ModeProblem)
	}
	if d.Version == "" {
		return refuse("look at what is in pgdata; "+anew(f), "the data directory is not empty and holds no database (no PG_VERSION)")
	}
	if d.Major != f.Tools.Major {
		return refuse(fmt.Sprintf("use an image with PostgreSQL %s", d.Version),
			"the data directory was written by PostgreSQL %s and the image has %d", d.Version, f.Tools.Major)
	}
	if d.Control == nil {
		return refuse(anew(f), "the control file of the data directory cannot be read (%s)", d.ControlProblem)
	}
	if len(d.Outside) > 0 {
		return refuse("move them into the data directory: a clone would not bring along what lies outside",
			"the data directory has links to places outside it: %s", links(d.Outside))
	}
	return nil
}

func links(outside []pgdata.Tablespace) string {
	var s []string
	for _, o := range outside {
		s = append(s, o.Name+" at "+o.Target)
	}
	return strings.Join(s, ", ")
}

// awaited is about grants that say nothing to this process.
func awaited(f Facts) *Plan {
	g := f.Grant
	switch {
	case g == nil:
		return wait("keeper has not written a grant yet")
	case g.Holder.Pod != f.Me.Pod || g.Holder.Boot != f.Me.Boot:
		return wait("the grant is for another pod or another boot of the node (pod %s)", g.Holder.Pod)
	case g.Holder.Member == "" && (!unrecorded(g) || !f.Noted):
		return wait("the grant does not say which member this is")
	case !g.Valid(f.Me, f.Now):
		return wait("the grant to be primary has run out")
	case g.Role == grant.Wait:
		return wait("keeper waits: %s", g.Reason)
	case g.Role == grant.Stop:
		return wait("keeper keeps the server stopped: %s", g.Reason)
	}
	return nil
}

// identity checks that the volume is this member's and holds this database. Names decide nothing (SAFETY rule 1).
func identity(f Facts) *Plan {
	g := f.Grant
	if f.Noted && f.Note.Member != "" && g.Holder.Member != "" && f.Note.Member != g.Holder.Member {
		return refuse(copied, "this volume was used by member %s and is now given to member %s: it is a copy", f.Note.Member, g.Holder.Member)
	}
	if f.Data.Empty {
		return nil
	}
	id := f.Data.Control.SystemID
	if f.Noted && f.Note.SystemID != "" && f.Note.SystemID != id {
		return refuse("put the data directory back that belongs here; "+anew(f),
			"the volume notes database %s, but its data directory holds database %s", f.Note.SystemID, id)
	}
	if g.SystemID != "" && g.SystemID != id {
		return refuse("give the pod the volume that belongs here; "+anew(f),
			"the data directory holds the foreign database %s, this one is %s", id, g.SystemID)
	}
	return nil
}

// history checks that the volume has not seen a newer past than the record, and no other one (SAFETY D12, D20, rules 14 and 21).
func history(f Facts) *Plan {
	g, n := f.Grant, f.Note
	var newest uint32
	var returns bool // it has diverged, and diverged() says how it comes back
	if !f.Data.Empty {
		var hand bool
		newest, hand = byHand(f)
		returns = hand && NeedsWAL(f) && g.MayRewind
		if hand && !returns {
			// The missing file is the mark, and it lasts: under a refusal nobody writes it again. Later the record may give the same
			// timeline number to another past, and nothing else would tell the two apart.
			return refuse("this member may hold writes that the others do not have: look at it before anything else; "+anew(f),
				"the data directory was a standby's and has been opened for writing on timeline %d without a grant: it has diverged", newest)
		}
	}
	if unrecorded(g) {
		return nil
	}
	if f.Noted && n.HighestEpoch.Compare(g.Epoch) > 0 {
		return refuse("the record may have been restored from an old copy: find the member that leads epoch "+n.HighestEpoch.String(),
			"this volume has seen epoch %s and the record says %s", n.HighestEpoch, g.Epoch)
	}
	if f.Data.Empty || g.Timeline == 0 {
		return nil
	}
	if newest > g.Timeline && !returns {
		return refuse("this member may hold writes that the others do not have: look at it before anything else; "+anew(f),
			"the data directory is on timeline %d, newer than the record's %d", newest, g.Timeline)
	}
	if n.PrimaryLine == g.Timeline && (n.Primary != g.Epoch || n.PrimaryReign != g.Reign) {
		return refuse("this member holds writes that the others do not have; "+anew(f),
			"this volume was primary on timeline %d in epoch %s, and the record has given the same number to epoch %s: it has diverged",
			g.Timeline, n.Primary, g.Epoch)
	}
	if g.Role == grant.Replica && g.Upstream != nil && n.Primary == g.Epoch && g.Upstream.Member != n.Member {
		return refuse("this member holds writes that the others do not have: look at it before anything else; "+anew(f),
			"this volume was primary in epoch %s, and the record says that %s leads that epoch: it has diverged", n.Primary, g.Upstream.Name)
	}
	return nil
}

// granted says what the grant makes of an empty volume.
func granted(f Facts) *Plan {
	if !f.Data.Empty {
		return nil
	}
	g := f.Grant
	switch {
	case g.Role == grant.Primary && g.Bootstrap:
		return bootstrap(f)
	case g.Role == grant.Primary:
		return refuse("find the volume that holds the data; initdb is done only under a claim in the record",
			"keeper grants to be primary, but the volume is empty")
	case g.MayClone && g.Upstream == nil:
		return wait("the volume is empty and may be cloned, but the grant names nobody to clone from")
	case g.MayClone && !f.Tools.Has(pgtools.Basebackup):
		return refuse("use an image that has it", "the volume is to be cloned and the image has no pg_basebackup in %s", f.Tools.Dir)
	case g.MayClone:
		p := &Plan{Do: Clone, Reason: "the volume is empty: clone from " + g.Upstream.Name}
		if f.Note.SystemID != "" {
			p.Warnings = append(p.Warnings, "the volume notes database "+f.Note.SystemID+" but its data directory is gone")
		}
		return p
	default:
		return wait("the volume is empty and keeper does not allow a clone yet: %s", g.Reason)
	}
}

// bootstrap is initdb: asked for, claimed, and without a trace of an older database (SAFETY rule 19).
func bootstrap(f Facts) *Plan {
	switch {
	case f.Grant.SystemID != "":
		return refuse("find the volume that holds it",
			"keeper allows initdb, but the record knows database %s already", f.Grant.SystemID)
	case f.Noted && f.Note.SystemID != "":
		return refuse("find out where its data directory is; an empty directory is no proof of a new database",
			"keeper allows initdb, but this volume notes that it held database %s", f.Note.SystemID)
	case !f.Tools.Has(pgtools.Initdb):
		return refuse("use an image that has it", "a database is to be made and the image has no initdb in %s", f.Tools.Dir)
	default:
		return &Plan{Do: Init, Reason: "the volume is empty and the record holds this member's claim to create the database"}
	}
}
