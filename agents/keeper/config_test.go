package main

import (
	"strings"
	"testing"
	"time"
)

func set(t *testing.T, env map[string]string) {
	t.Helper()
	for name, value := range map[string]string{"POD_NAME": "a-primary-0", "POD_UID": "u", "POD_IP": "10.0.0.1", "NAMESPACE": "ns", "BORN_AS": "primary"} {
		t.Setenv("PGSPAN_"+name, value)
	}
	for name, value := range env {
		t.Setenv("PGSPAN_"+name, value)
	}
}

func TestDefaultsAreValid(t *testing.T) {
	set(t, nil)
	c, err := load()
	if err != nil {
		t.Fatal(err)
	}
	if c.LeaseDuration != 8*time.Second || c.FenceAfter != 5*time.Second || c.StopTime != time.Second || c.RenewEvery != time.Second || c.Listen != ":8008" || c.PeersListen != ":8009" {
		t.Errorf("got %+v", c)
	}
}

func TestRefusedEnvironments(t *testing.T) {
	for name, c := range map[string]struct {
		env  map[string]string
		want []string
	}{
		"fence_after_the_others_may_begin": {map[string]string{"FENCE_AFTER": "7s"}, []string{"exceed 0.8", "6.4s at most"}},
		"slow_stop":                        {map[string]string{"STOP_TIME": "2s"}, []string{"exceed 0.8"}},
		"renewals_too_rare":                {map[string]string{"RENEW_EVERY": "2s"}, []string{"a third"}},
		"no_duration":                      {map[string]string{"LEASE_DURATION": "soon"}, []string{"LEASE_DURATION"}},
		"unknown_birth":                    {map[string]string{"BORN_AS": "master"}, []string{`"master"`}},
		"probe_without_a_port":             {map[string]string{"PROBE": "db-rw.ns.svc"}, []string{"host:port"}},
		"probed_too_often":                 {map[string]string{"PROBE_EVERY": "10ms"}, []string{"at least 1s"}},
		"all_problems_at_once":             {map[string]string{"POD_NAME": "", "POD_UID": "", "FENCE_AFTER": "0s", "SLOT_TTL": "1s"}, []string{"POD_NAME is not set", "POD_UID is not set", "FENCE_AFTER is 0s", "SLOT_TTL is 1s"}},
	} {
		t.Run(name, func(t *testing.T) {
			set(t, c.env)
			_, err := load()
			if err == nil {
				t.Fatal("accepted")
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("not told: %s\n%v", want, err)
				}
			}
		})
	}
}
