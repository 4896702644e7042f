package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

// Labels of the database pods; see the chart's _helpers.tpl and package publish.
const (
	databases    = "app.kubernetes.io/component=database,pgspan.io/cluster"
	labelCluster = "pgspan.io/cluster"
	keeper       = "keeper"
)

// pod is a database pod, as far as it is looked at here.
type pod struct {
	Metadata struct {
		Name   string
		Labels map[string]string
	}
	Spec struct{ NodeName string }
	// keeper is a sidecar: an init container that goes on.
	Status struct {
		Phase                 string
		InitContainerStatuses []containerStatus
	}
}

type containerStatus struct {
	Name  string
	State struct{ Running *struct{} }
}

func (p pod) release() string { return p.Metadata.Labels[labelCluster] }

// answers: role can be run in it.
func (p pod) answers() bool {
	return slices.ContainsFunc(p.Status.InitContainerStatuses, func(c containerStatus) bool { return c.Name == keeper && c.State.Running != nil })
}

func (p pod) String() string {
	where := p.Spec.NodeName
	if where == "" {
		where = "no node"
	}
	return fmt.Sprintf("%s is %s on %s", p.Metadata.Name, p.Status.Phase, where)
}

// podsOf decodes kubectl's list.
func podsOf(list []byte) ([]pod, error) {
	var l struct{ Items []pod }
	if err := json.Unmarshal(list, &l); err != nil {
		return nil, fmt.Errorf("read kubectl's list of pods: %w", err)
	}
	return l.Items, nil
}

// choose returns the pods of one release in which role can be run. namespace is how the person named it, for sentences.
func choose(pods []pod, release, namespace string) ([]pod, error) {
	var releases []string
	for _, p := range pods {
		releases = append(releases, p.release())
	}
	slices.Sort(releases)
	releases = slices.Compact(releases)
	switch {
	case len(releases) == 0:
		return nil, fmt.Errorf("there are no database pods of pgspan in %s: name another with --namespace", namespace)
	case release == "" && len(releases) > 1:
		return nil, fmt.Errorf("there are several releases in %s: choose one with --release: %s", namespace, strings.Join(releases, ", "))
	case release != "" && !slices.Contains(releases, release):
		return nil, fmt.Errorf("there is no release %s in %s, but %s (the full name, as its pods begin)", release, namespace, strings.Join(releases, ", "))
	case release == "":
		release = releases[0]
	}
	var of, answer []pod
	for _, p := range pods {
		if p.release() == release {
			of = append(of, p)
		}
	}
	for _, p := range of {
		if p.answers() {
			answer = append(answer, p)
		}
	}
	if len(answer) == 0 {
		var states []string
		for _, p := range of {
			states = append(states, p.String())
		}
		return nil, fmt.Errorf("no keeper of %s runs, so nobody can be asked: %s", release, strings.Join(states, "; "))
	}
	return answer, nil
}
