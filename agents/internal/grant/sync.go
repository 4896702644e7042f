package grant

import (
	"strconv"
	"strings"
)

// Sync says whom commits wait for: K of Members must have them on disk before they are acknowledged. With K 0 they wait for nobody. With K above
// the number of members nobody can acknowledge: every server of synchronous mode begins so, and is promoted so (SAFETY rule 11).
type Sync struct {
	K       int      `json:"k"`
	Members []string `json:"members,omitempty"`
}

// nobody is a name that no standby has.
const nobody = "pgspan_nobody"

// Names is s as the value of synchronous_standby_names.
func (s Sync) Names() string {
	switch {
	case s.K <= 0:
		return ""
	case s.K > len(s.Members):
		return "ANY 1 (" + nobody + ")"
	}
	names := make([]string, 0, len(s.Members))
	for _, m := range s.Members {
		names = append(names, `"`+SlotName(m)+`"`)
	}
	return "ANY " + strconv.Itoa(s.K) + " (" + strings.Join(names, ", ") + ")"
}

// Listed are the names in what Names gives.
func Listed(names string) []string {
	_, list, _ := strings.Cut(names, "(")
	list = strings.TrimSuffix(list, ")")
	if list == "" {
		return nil
	}
	out := strings.Split(list, ", ")
	for i := range out {
		out[i] = strings.Trim(out[i], `"`)
	}
	return out
}

// SlotName is the replication slot of a member on its upstream, and its application_name there. PostgreSQL allows lower-case letters,
// digits and underscores.
func SlotName(member string) string {
	return "pgspan_" + strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return '_'
	}, strings.ToLower(member))
}
