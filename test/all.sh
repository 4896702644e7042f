#!/usr/bin/env bash
# Everything that must pass, with the time of each part: make check, then sites of real members, the end-to-end tests in the lab, and what all of them show.
set -uo pipefail
cd "$(dirname "$0")/.."

declare -a parts=() seconds=() results=()
part() {
	local name=$1 began=$SECONDS result=ok
	shift
	printf '\n== %s\n' "$name"
	"$@" || result=FAILED
	parts+=("$name") seconds+=($((SECONDS - began))) results+=("$result")
	[ "$result" = ok ]
}
table() {
	printf '\n%8s  %-7s %s\n' seconds result part
	for i in "${!parts[@]}"; do printf '%8d  %-7s %s\n' "${seconds[$i]}" "${results[$i]}" "${parts[$i]}"; done
}
whole() {
	# Unit tests use the lab's API server and the images' file systems.
	part "deps" make -s deps &&
		part "agents" make -s agents &&
		part "lab" make -s lab &&
		part "images" make -s images &&
		part "check" make -s check &&
		part "sites" make -s sites &&
		part "end to end" make -s e2e &&
		part "matrix" make -s matrix
}
whole
status=$?
table
[ -x bin/lab ] && bin/lab down
exit $status
