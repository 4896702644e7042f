package health

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/pgspan/pgspan/agents/internal/observed"
	"github.com/pgspan/pgspan/agents/internal/pg"
)

func TestAnswers(t *testing.T) {
	num := func(n int64) *int64 { return &n }
	sec := func(f float64) *float64 { return &f }
	primary := observed.Snapshot{Granted: true, Leader: true, Server: &pg.Status{}}
	promoting := observed.Snapshot{Granted: true, Leader: true, Server: &pg.Status{InRecovery: true}}
	zombie := observed.Snapshot{Server: &pg.Status{}}
	standby := func(l observed.Lag) observed.Snapshot {
		return observed.Snapshot{Server: &pg.Status{InRecovery: true}, Lag: l}
	}
	near := standby(observed.Lag{LinkUp: true, Bytes: num(2000), Seconds: sec(3)})
	cut := standby(observed.Lag{})
	refused := cut
	refused.Refused = "requested WAL segment 000000010000000000000003 has already been removed"
	stuck := errors.New("stuck")
	for name, c := range map[string]struct {
		s     observed.Snapshot
		alive error
		path  string
		want  int
	}{
		"alive_without_anything":              {observed.Snapshot{}, nil, "/livez", 200},
		"stuck_keeper":                        {primary, stuck, "/livez", 503},
		"primary_is_ready":                    {primary, nil, "/readyz", 200},
		"ready_does_not_ask_for_keepers_life": {primary, stuck, "/readyz", 200},
		"replica_is_ready":                    {near, nil, "/readyz", 200},
		"cut_replica_still_serves_reads":      {cut, nil, "/readyz", 200},
		"replica_that_is_refused_its_wal":     {refused, nil, "/readyz", 503},
		"dead_server_is_not_ready":            {observed.Snapshot{}, nil, "/readyz", 503},
		"zombie_is_not_ready":                 {zombie, nil, "/readyz", 503},
		"promoting_is_not_ready":              {promoting, nil, "/readyz", 503},
		"primary":                             {primary, nil, "/primary", 200},
		"replica_is_no_primary":               {near, nil, "/primary", 503},
		"zombie_is_no_primary":                {zombie, nil, "/primary", 503},
		"replica":                             {near, nil, "/replica", 200},
		"primary_is_no_replica":               {primary, nil, "/replica", 503},
		"replica_link_dead_reports_unknown":   {cut, nil, "/replica", 503},
		"link_dead_is_not_within_a_size":      {cut, nil, "/replica?lag=10MB", 503},
		"within_the_size":                     {near, nil, "/replica?lag=2kB", 200},
		"not_within_the_size":                 {near, nil, "/replica?lag=1999", 503},
		"within_the_time":                     {near, nil, "/replica?lag=3s", 200},
		"not_within_the_time":                 {near, nil, "/replica?lag=2900ms", 503},
		"size_known_and_time_unknown":         {standby(observed.Lag{Bytes: num(0)}), nil, "/replica?lag=1h", 503},
		"senseless_limit":                     {near, nil, "/replica?lag=much", 400},
		"negative_limit":                      {near, nil, "/replica?lag=-1", 400},
		"metrics":                             {near, nil, "/metrics", 204},
		"nothing_acts":                        {near, nil, "/v1/switchover", 404},
	} {
		t.Run(name, func(t *testing.T) {
			h := Handler(func() observed.Snapshot { return c.s }, func() error { return c.alive },
				http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, c.path, nil))
			if w.Code != c.want {
				t.Errorf("got %d (%s), want %d", w.Code, w.Body, c.want)
			}
		})
	}
	w := httptest.NewRecorder()
	Handler(func() observed.Snapshot { return primary }, func() error { return nil }, http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/primary", nil))
	if w.Code != 405 {
		t.Errorf("POST: got %d, want 405", w.Code)
	}
}
