package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// arguments are what follows a verb: some are kubectl's, the others role's.
type arguments struct {
	release string
	kubectl []string // which cluster and namespace, and as whom
	role    []string
	help    bool
}

// kubectlFlags are those of kubectl that choose the cluster, the namespace and the identity. Each takes a value.
var kubectlFlags = []string{
	"-n", "--namespace", "--context", "--kubeconfig", "--cluster", "--user", "--as", "--as-group", "--as-uid", "-s", "--server", "--token", "--request-timeout",
}

// split sorts a verb's arguments. What it does not know is role's, which says what is wrong with it: its flags are not repeated here.
func split(args []string) (arguments, error) {
	var a arguments
	for i := 0; i < len(args); i++ {
		name, value, has := strings.Cut(args[i], "=")
		ours, kubectls := name == "--release", slices.Contains(kubectlFlags, name)
		switch {
		case args[i] == "--":
			a.role = append(a.role, args[i+1:]...)
			return a, nil
		case args[i] == "-h" || args[i] == "--help":
			a.help = true
		case !ours && !kubectls:
			a.role = append(a.role, args[i])
		case !has && i+1 == len(args):
			return a, fmt.Errorf("%s needs a value", name)
		default:
			if !has {
				i++
				value = args[i]
			}
			if value == "" {
				return a, fmt.Errorf("%s is empty", name)
			}
			if ours {
				a.release = value
			} else {
				a.kubectl = append(a.kubectl, name, value)
			}
		}
	}
	for _, arg := range a.role {
		// These say where role finds the keepers and their certificates: in the pod, where it runs.
		if name, _, _ := strings.Cut(arg, "="); name == "--keepers" || name == "--tls" {
			return a, errors.New(name + " is for role itself: it runs in a pod, which knows")
		}
	}
	return a, nil
}
