package loadbalancer

import (
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"
	"time"
)

// answers serves a status that a test can change, or nothing at all.
func answers(t *testing.T) (status *int, address netip.AddrPort, stop func()) {
	status = new(int)
	*status = http.StatusOK
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(*status) }))
	t.Cleanup(server.Close)
	return status, netip.MustParseAddrPort(server.Listener.Addr().String()), server.Close
}

func newTestHealth() *health {
	h := newHealth()
	h.client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true, DialContext: (&net.Dialer{}).DialContext}, Timeout: time.Second}
	return h
}

func TestOneMissedAnswerIsForgiven(t *testing.T) {
	_, address, stop := answers(t)
	h := newTestHealth()
	check := func() bool { return h.check(t.Context(), address.Addr(), int(address.Port())) }
	if !check() {
		t.Fatal("got a node that answers as down")
	}
	stop()
	var got []bool
	for range 4 {
		got = append(got, check())
	}
	want := []bool{true, true, false, false}
	for i := range want {
		if got[i] != want[i] {
			t.Fatalf("got %v while the node is silent, want %v", got, want)
		}
	}
}

func TestAnswerNoCountsAtOnce(t *testing.T) {
	status, address, _ := answers(t)
	h := newTestHealth()
	check := func() bool { return h.check(t.Context(), address.Addr(), int(address.Port())) }
	if !check() {
		t.Fatal("got a node that answers as down")
	}
	*status = http.StatusServiceUnavailable
	if check() {
		t.Error("got a node that says no as serving")
	}
	*status = http.StatusOK
	if !check() {
		t.Error("got a node that says yes again as down")
	}
}

func TestUnknownSilentNodeIsDown(t *testing.T) {
	_, address, stop := answers(t)
	stop()
	if newTestHealth().check(t.Context(), address.Addr(), int(address.Port())) {
		t.Error("got a node that never answered as serving")
	}
}
