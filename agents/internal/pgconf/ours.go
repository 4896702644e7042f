package pgconf

import (
	"maps"
	"slices"
)

// Ours are the settings that belong to us, so that ALTER SYSTEM has no business with them, sorted. CleanAuto removes them before a start; who
// watches a running server looks for the same ones (SAFETY rule 24).
func Ours(in Input) []string {
	ours := map[string]bool{}
	for name := range fixedSettings(in) {
		ours[name] = true
	}
	for name := range elsewhere {
		ours[name] = name != "shared_preload_libraries"
	}
	for _, name := range voteSettings {
		ours[name] = true // ALTER SYSTEM would win over what an election needs; postgresql.parameters may have them
	}
	maps.DeleteFunc(ours, func(_ string, is bool) bool { return !is })
	return slices.Sorted(maps.Keys(ours))
}
