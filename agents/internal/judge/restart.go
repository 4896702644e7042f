package judge

import "github.com/pgspan/pgspan/agents/internal/grant"

// restarting turns the word to run into the word to stop, as long as the very server runs that is to be restarted for its settings. What it is to be
// afterwards is judged when it is down: a primary begins again in its own reign, under its own lease, as after a crash.
func restarting(f Facts, v Verdict) Verdict {
	s := f.Local.State
	if f.Local.Restart == "" || v.Keep || v.Do != Nothing || v.Grant.Vote || f.Handover != nil || s == nil || s.Ending {
		return v
	}
	primary := v.Grant.Role == grant.Primary && s.Server == grant.Writable
	standby := v.Grant.Role == grant.Replica && s.Server == grant.Standby
	if !primary && !standby {
		return v
	}
	reason := "the server is restarted: " + f.Local.Restart
	return Verdict{Reason: reason, Grant: grant.Grant{
		Role: grant.Stop, Reason: reason, Epoch: v.Grant.Epoch, Reign: v.Grant.Reign, Timeline: v.Grant.Timeline, SystemID: v.Grant.SystemID,
	}}
}
