package selftest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/pgspan/pgspan/test/lab/build"
	"github.com/pgspan/pgspan/test/lab/cgroup"
	"github.com/pgspan/pgspan/test/lab/fault"
	"github.com/pgspan/pgspan/test/lab/inject"
	"github.com/pgspan/pgspan/test/lab/leftovers"
	"github.com/pgspan/pgspan/test/lab/lifecycle"
	"k8s.io/apimachinery/pkg/api/resource"
)

// goneWithin is for what others on the machine have for a moment, such as a process that ends.
const goneWithin = 30 * time.Second

// upArgs is the lab that is brought up and down: large enough to have every kind of part.
var upArgs = []string{"up", "--sites", "a,b", "--nodes", "1"}

// Down shows that nothing of a lab stays on the machine, whatever was killed before. No lab may be up.
func Down(ctx context.Context, say build.Progress) error {
	if _, err := lifecycle.LoadState(); !errors.Is(err, lifecycle.ErrNoLab) {
		return errors.New("this part of the self-test brings labs up and down: run lab down first")
	}
	before, err := leftovers.Take(ctx)
	if err != nil {
		return err
	}
	for _, after := range []time.Duration{500 * time.Millisecond, 2 * time.Second, 4 * time.Second, 7 * time.Second, 12 * time.Second} {
		if err := upAndKill(ctx, after); err != nil {
			return err
		}
		if err := downLeavesNothing(ctx, before, say, fmt.Sprintf("lab up killed after %s", after)); err != nil {
			return err
		}
	}
	for _, c := range []struct {
		what string
		harm func(context.Context) error
	}{
		{"ready lab", func(context.Context) error { return nil }},
		{"lab of which every other process was killed", killMany},
		{"lab with a pod that waits for a hung disk, a frozen and a dead node", holdUp},
	} {
		if err := self(ctx, upArgs...); err != nil {
			return err
		}
		if err := c.harm(ctx); err != nil {
			return fmt.Errorf("%s: %w", c.what, err)
		}
		if err := downLeavesNothing(ctx, before, say, c.what); err != nil {
			return err
		}
	}
	return nil
}

// holdUp brings about what keeps processes from dying.
func holdUp(ctx context.Context) error {
	state, err := lifecycle.LoadState()
	if err != nil {
		return err
	}
	h := state.Lab.Sites[0].NodeHosts()[0]
	client, err := lifecycle.Client(h.Site)
	if err != nil {
		return err
	}
	p := lifecycle.Probe{Site: h.Site, Namespace: "lab-selftest-" + h.Name, Class: "lab-local",
		Size: resource.MustParse("512Mi"), Node: h.Name}
	if err := p.Create(ctx, client); err != nil {
		return err
	}
	url, err := p.URL(ctx, client)
	if err != nil {
		return err
	}
	for _, f := range []fault.Fault{
		{Kind: fault.Hang, Target: h.Site.Name + "/" + p.Namespace + "/" + probeName},
		{Kind: fault.KillNode, Target: state.Lab.Sites[1].NodeHosts()[0].Name},
	} {
		if err := inject.Do(ctx, state, f); err != nil {
			return err
		}
	}
	waiting, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	if answer, err := lifecycle.Tell(waiting, url+"/write?path=/data/written&bytes=8192&sync=1"); err == nil {
		return fmt.Errorf("a hung disk took a write in %s seconds", answer)
	}
	return inject.Do(ctx, state, fault.Fault{Kind: fault.FreezeNode, Target: h.Name})
}

// upAndKill kills lab up in the middle, as a person or the kernel does.
func upAndKill(ctx context.Context, after time.Duration) error {
	cmd := exec.CommandContext(ctx, "/proc/self/exe", upArgs...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("bring up: %w", err)
	}
	time.Sleep(after)
	if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill lab up: %w", err)
	}
	// It was killed; only that it is gone matters.
	_ = cmd.Wait()
	return nil
}

// killMany kills every other process of the lab; the first ones are the oldest, the background process among them.
func killMany(context.Context) error {
	pids, err := cgroup.Processes("")
	if err != nil {
		return err
	}
	killed := 0
	for i, pid := range pids {
		if i%2 == 0 && syscall.Kill(pid, syscall.SIGKILL) == nil {
			killed++
		}
	}
	if killed == 0 {
		return errors.New("the lab has no processes to kill")
	}
	return nil
}

func downLeavesNothing(ctx context.Context, before leftovers.Snapshot, say build.Progress, what string) error {
	began := time.Now()
	if err := self(ctx, "down"); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	took := time.Since(began)
	for {
		after, err := leftovers.Take(ctx)
		if err != nil {
			return err
		}
		left := leftovers.New(before, after)
		if len(left) == 0 {
			say("ok    %s: down leaves nothing (%s)", what, took.Round(100*time.Millisecond))
			return nil
		}
		if time.Since(began) > goneWithin {
			return fmt.Errorf("%s: down leaves %s", what, strings.Join(left, "; "))
		}
		time.Sleep(500 * time.Millisecond)
	}
}

// self runs another command of this program.
func self(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "/proc/self/exe", args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("lab %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
