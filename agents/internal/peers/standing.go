// Package peers is the conversation between the keepers of a site, over mutual TLS: each tells the others how it stands, and that the record
// has changed. Nothing is decided here. What was heard are facts of moments past, to be judged by package judge; what was not heard comes
// with the reason.
//
// Both sides show certificates of the site's CA. The one who asks must be a keeper (common name pgspan_keeper), the one who answers must
// have the certificate for its host in the record. Certificates are read again when their files change.
package peers

import (
	"errors"
	"fmt"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/grant"
	"github.com/pgspan/pgspan/agents/internal/lsn"
)

const (
	// Format is the version of the values below that this code writes. New fields do not raise it; a value with a higher one is not understood.
	Format = 1
	// Port is where keepers listen.
	Port = 8009

	pathStanding = "/v1/standing"
	pathLook     = "/v1/look"
)

// Standing is what a member says about itself. Others may rest an election on it, so it never says more than is certain.
type Standing struct {
	Format int               `json:"format"`
	Me     grant.Incarnation `json:"me"`
	Pod    string            `json:"pod"`
	// SystemID is the database's identity on this member's volume; empty: not known, or there is none.
	SystemID string `json:"systemID,omitempty"`
	// Version is the state of the record that this member has voted on: since then it streams from nobody. Zero: it has not voted.
	Version epoch.Version `json:"version,omitzero"`
	// Known says that Timeline and Position are the end of valid local WAL and stay it (SAFETY rule 9). Otherwise both mean nothing.
	Known    bool    `json:"known"`
	Timeline uint32  `json:"timeline,omitempty"`
	Position lsn.LSN `json:"position"`
	// Problem is why the position is not known, or why this member may not win; empty when neither is so.
	Problem string `json:"problem,omitempty"`
	// MayWin says that nothing on this member's side speaks against its promotion.
	MayWin   bool `json:"mayWin"`
	Priority int  `json:"priority"`
	// Unfenced is the name of this member's fence that a person has lifted where nobody led: the leader takes it off the record.
	Unfenced string `json:"unfenced,omitempty"`
	// Streaming says that this member has a connection to its upstream; Received is how far it then had WAL on disk, for the choice of a
	// switchover's target. It is no vote.
	Streaming bool    `json:"streaming"`
	Received  lsn.LSN `json:"received"`
	// Reached is how far this member has WAL on its disk, whether or not it streams, by its server's last word. DiskWell says that its volume has
	// lately finished a small write, and quickly. Neither is a vote.
	Reached  lsn.LSN `json:"reached,omitempty"`
	DiskWell bool    `json:"diskWell,omitempty"`
	// Epoch is the highest that this member has seen.
	Epoch epoch.Epoch `json:"epoch,omitzero"`
}

// understood reports a value whose format this code does not know.
func understood(what string, format int) error {
	switch {
	case format > Format:
		return fmt.Errorf("%s has format %d, this keeper understands up to %d", what, format, Format)
	case format < 1:
		return fmt.Errorf("%s has no format number", what)
	}
	return nil
}

// nobody reports an incarnation of which a part is missing.
func nobody(i grant.Incarnation) bool { return i.Member == "" || i.Pod == "" || i.Boot == "" }

// Validate reports an answer that no keeper of ours gives, so that nobody judges a half-understood one.
func (s Standing) Validate() error {
	if err := understood("the answer", s.Format); err != nil {
		return err
	}
	switch {
	case nobody(s.Me):
		return errors.New("the answer does not say whose it is")
	case s.Known && (s.Timeline == 0 || s.Position == 0):
		return errors.New("the answer has a known position without a timeline or a place")
	}
	return nil
}

// Answer is what came of asking one member: its standing, or why it was not heard.
type Answer struct {
	Standing Standing
	Err      error
}

// look says that the record has changed, so that a peer need not wait for its own next look.
type look struct {
	Format  int               `json:"format"`
	From    grant.Incarnation `json:"from"`
	Version epoch.Version     `json:"version"`
}

func (l look) validate() error {
	if err := understood("the request", l.Format); err != nil {
		return err
	}
	switch {
	case nobody(l.From):
		return errors.New("the request does not say whose it is")
	case l.Version.IsZero():
		return errors.New("the request names no version of the record")
	}
	return nil
}
