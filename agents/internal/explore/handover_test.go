package explore

import "github.com/pgspan/pgspan/agents/internal/judge"

// handOver lets the leader give the right away, as for the end of a pod.
func (s *sim) handOver(named bool) {
	k := s.leader().keeper
	if k == nil || k.handover != nil || !k.loop.View().InForce(k.h.clock()) {
		return
	}
	heir := ""
	if sv := k.h.server; named && sv != nil {
		if streams := sv.streaming(); len(streams) > 0 {
			heir = memberOf(streams[0])
		}
	}
	k.handover = &judge.Handover{Heir: heir, Reason: "asked for"}
}
