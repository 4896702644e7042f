package pgpool

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// removeLeftovers removes the shared memory of pgpools that were killed. It belongs to the pod and not to the container, so each would
// otherwise cost its megabytes until the pod is deleted. pgpool's segments have no key; one that nobody is attached to can be reached by
// nobody.
func removeLeftovers() error {
	list, err := os.Open("/proc/sysvipc/shm")
	if err != nil {
		return fmt.Errorf("remove shared memory of before: %w", err)
	}
	defer list.Close()
	lines := bufio.NewScanner(list)
	for lines.Scan() {
		// key shmid perms size cpid lpid nattch uid …; the first line names them.
		fields := strings.Fields(lines.Text())
		if len(fields) < 8 || fields[0] != "0" || fields[6] != "0" || fields[7] != strconv.Itoa(os.Geteuid()) {
			continue
		}
		id, err := strconv.Atoi(fields[1])
		if err != nil {
			return fmt.Errorf("remove shared memory of before: %w", err)
		}
		_, err = unix.SysvShmCtl(id, unix.IPC_RMID, nil)
		if err != nil && !errors.Is(err, unix.EINVAL) && !errors.Is(err, unix.EIDRM) { // those two: it is gone already
			return fmt.Errorf("remove shared memory of before: %w", err)
		}
	}
	return lines.Err()
}
