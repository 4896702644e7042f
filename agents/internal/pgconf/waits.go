package pgconf

import (
	"fmt"

	"github.com/pgspan/pgspan/agents/internal/grant"
)

// renderWaits writes whom commits wait for. As long as nobody has said so, nothing is acknowledged in synchronous mode (SAFETY rule 11).
func renderWaits(in Input) []byte {
	s := grant.Sync{}
	switch {
	case in.Sync != nil:
		s = *in.Sync
	case in.Settings.Synchronous.On():
		s.K = 1
	}
	return fmt.Appendf(nil, "# Written by pgspan from the grant; changes made here are lost.\nsynchronous_standby_names = %s\n", Quote(s.Names()))
}
