package pgtest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"testing"
)

// freeAddress picks a loopback address at random, so that each server can have PostgreSQL's own port to itself and two
// test binaries do not meet. Where something listens on that port on all addresses, another port is taken.
func freeAddress(t testing.TB) (host string, port int) {
	t.Helper()
	var listen net.ListenConfig
	for range 20 {
		host = fmt.Sprintf("127.%d.%d.%d", 64+rand.IntN(128), rand.IntN(256), 1+rand.IntN(254))
		for _, port := range []int{5432, 15432} {
			l, err := listen.Listen(t.Context(), "tcp", net.JoinHostPort(host, strconv.Itoa(port)))
			if err != nil {
				continue
			}
			l.Close()
			return host, port
		}
	}
	t.Fatal("find a free loopback address: ports 5432 and 15432 are taken on all addresses of this machine")
	return "", 0
}
