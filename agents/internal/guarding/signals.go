package guarding

import (
	"os"
	"syscall"
)

// Signals are those that guard wants to hear. SIGTERM is Kubernetes' word; SIGINT is what an image with STOPSIGNAL SIGINT gets instead.
func Signals() []os.Signal {
	return []os.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGHUP}
}

func isReload(sig os.Signal) bool { return sig == syscall.SIGHUP }

func isImmediate(sig os.Signal) bool { return sig == syscall.SIGQUIT }
