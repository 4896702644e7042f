// Command role asks the keepers of a release for what a person wants: another primary, a pause, a member that stays stopped, a rollout. It
// writes nothing itself: the leader's keeper takes the order into the record, and role looks until the result can be seen. It then prints one
// sentence; a rollout tells on the way what is awaited.
//
// Exit codes: 0 done, 1 failed, 2 wrong usage, 3 refused (nothing was changed), 4 not done in time.
//
// Environment (a flag of the same name goes first):
//
//	PGSPAN_KEEPERS   hosts and port of the keepers, comma-separated: <fullname>-members.<namespace>.svc.<domain>:8009 (required)
//	PGSPAN_TLS       directory with ca.crt, keeper.crt and keeper.key (/pgspan/tls)
//	PGSPAN_TIMEOUT   how long all of it may take (3m; a rollout 30m)
//	PGSPAN_ID        the order's id: the same one again is reported on, not done again (random)
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/pgspan/pgspan/agents/internal/orders"
)

// version is set by the linker (-X main.version).
var version = "unknown"

func main() {
	os.Exit(code(newCommand(os.Stdout).Execute()))
}

// code is the exit code of an error. What a command has not judged itself is the command line's fault.
func code(err error) int {
	var ended *endedError
	switch {
	case err == nil:
		return orders.ExitDone
	case errors.As(err, &ended):
		fmt.Fprintln(os.Stderr, ended.Sentence)
		return ended.Code
	default:
		fmt.Fprintln(os.Stderr, "role:", err)
		return orders.ExitUsage
	}
}
