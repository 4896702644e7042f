package peers

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/pgspan/pgspan/agents/internal/epoch"
	"github.com/pgspan/pgspan/agents/internal/record"
)

// late is by how much a bounded wait may be exceeded on a busy machine.
const late = time.Second

// deaf is an address of which no connection is ever answered, like that of a dead node: its queue is full, and the kernel drops what comes.
func deaf(t *testing.T) string {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	if err := unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := unix.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	address := net.JoinHostPort("127.0.0.1", strconv.Itoa(name.(*unix.SockaddrInet4).Port))
	for range 10 {
		conn, err := net.DialTimeout("tcp", address, 200*time.Millisecond)
		if err != nil {
			return address
		}
		t.Cleanup(func() { conn.Close() })
	}
	t.Fatal("the queue does not fill")
	return ""
}

// silent accepts connections and never says anything, like a frozen process whose kernel lives.
func silent(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestOneThatDoesNotAnswerCostsItsTimeAndNobodyElsesAnswer(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	for name, c := range map[string]struct {
		at   func(*testing.T) string
		most time.Duration // beside the limit of Ask
		want string
	}{
		"dead_node":     {deaf, 300 * time.Millisecond, "connect"},
		"frozen_kernel": {silent, plenty, "deadline exceeded"},
		"nobody_there":  {func(t *testing.T) string { a := silent(t); return a[:strings.LastIndex(a, ":")] + ":1" }, 0, "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			p, a, b, gone := newPeer(t, good), newPeer(t, good), newPeer(t, good), newPeer(t, good)
			gone.stop()
			gone.at = c.at(t)
			heard(t, p, a) // connections are open, so that the answers are quick
			heard(t, p, b)
			const limit = 2 * time.Second
			start := time.Now()
			answers := p.client.Ask(context.Background(), p.knows(p, a, gone, b), p.ID, limit)
			if took := time.Since(start); took > min(limit, c.most)+late {
				t.Errorf("it took %v", took)
			}
			if len(answers) != 3 || answers[a.ID].Err != nil || answers[b.ID].Err != nil {
				t.Errorf("got %v", answers)
			}
			if err := answers[gone.ID].Err; err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// The connection is open, the process behind it freezes. What it says when it thaws is not taken for an answer to a later question.
func TestFrozenPeerOnAKeptConnection(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, o := newPeer(t, good), newPeer(t, good)
	var frozen sync.RWMutex
	var asked atomic.Int64
	before := o.ask
	o.ask = func() Standing {
		s := before()
		s.Priority = int(asked.Add(1))
		frozen.RLock()
		defer frozen.RUnlock()
		return s
	}
	heard(t, p, o)
	kept := p.client.links[o.ID].conn
	frozen.Lock()
	const limit = 300 * time.Millisecond
	for range 2 {
		start := time.Now()
		a := p.client.Ask(context.Background(), p.knows(o), p.ID, limit)[o.ID]
		if took := time.Since(start); a.Err == nil || took > limit+late {
			t.Fatalf("got %v after %v", a, took)
		}
		if p.client.links[o.ID].conn != nil {
			t.Fatal("the connection was kept")
		}
	}
	last := asked.Load()
	frozen.Unlock()
	if got := heard(t, p, o); int64(got.Priority) <= last {
		t.Errorf("the answer to question %d was taken for that to %d", got.Priority, last+1)
	}
	if p.client.links[o.ID].conn == kept {
		t.Error("the connection of before is used again")
	}
}

func TestPeerThatWasRestartedIsHeardAtOnce(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, o := newPeer(t, good), newPeer(t, good)
	heard(t, p, o)
	o.stop()
	if _, err := p.asks(o); err == nil {
		t.Fatal("it was heard while it was down")
	}
	o.start(t, o.at)
	heard(t, p, o)
	o.stop()
	o.start(t, o.at)
	heard(t, p, o) // the kept connection is closed, and replaced in the same question
}

func TestUnansweredQuestionEndsWithItsContext(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, o := newPeer(t, good), newPeer(t, good)
	release := make(chan struct{})
	defer close(release)
	begun := make(chan struct{}, 1)
	before := o.ask
	o.ask = func() Standing { begun <- struct{}{}; <-release; return before() }
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-begun; cancel() }()
	start := time.Now()
	if a := p.client.Ask(ctx, p.knows(o), p.ID, plenty)[o.ID]; a.Err == nil || time.Since(start) > plenty/2 {
		t.Errorf("got %v after %v", a, time.Since(start))
	}
}

// ageing is a context whose end has passed when it is looked at a second time, as after a freeze.
type ageing struct {
	context.Context
	looks atomic.Int64
}

func (a *ageing) Deadline() (time.Time, bool) {
	if a.looks.Add(1) > 1 {
		return time.Now().Add(-time.Hour), true
	}
	return a.Context.Deadline()
}

// What is sent to a node that has lost its power is not repeated for a quarter of an hour, in either direction.
func TestSocketsAreImpatient(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, o := newPeer(t, good), newPeer(t, good)
	heard(t, p, o)
	l, err := listen(context.Background(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	caller, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer caller.Close()
	accepted, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer accepted.Close()
	for name, conn := range map[string]net.Conn{"asking": p.client.links[o.ID].conn.NetConn(), "answering": accepted} {
		socket, err := conn.(*net.TCPConn).SyscallConn()
		if err != nil {
			t.Fatal(err)
		}
		var got int
		if e := socket.Control(func(fd uintptr) { got, err = unix.GetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT) }); e != nil || err != nil {
			t.Fatal(e, err)
		}
		if got != int(userTimeout.Milliseconds()) {
			t.Errorf("%s: got %d ms, want %v", name, got, userTimeout)
		}
	}
}

// This process was frozen between the question and the answer, which has been in the kernel since.
func TestAnswerReadAfterAFreezeIsNone(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, o := newPeer(t, good), newPeer(t, good)
	heard(t, p, o)
	ctx, cancel := context.WithTimeout(context.Background(), plenty)
	defer cancel()
	p.knows(o)
	m, err := p.client.certificates.current()
	if err != nil {
		t.Fatal(err)
	}
	ask := func(ctx context.Context) error {
		_, err := p.client.link(o.ID).exchange(ctx, target{o.at, o.Host, m}, request{http.MethodGet, pathStanding, nil, http.StatusOK})
		return err
	}
	if err := ask(ctx); err != nil {
		t.Fatal(err)
	}
	if err := ask(&ageing{Context: ctx}); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
}

// Two that ask one member at the same time share its connection; each gets an answer of its own.
func TestManyQuestionsAtOnce(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, a, b := newPeer(t, good), newPeer(t, good), newPeer(t, good)
	members := p.knows(a, b)
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for id, got := range p.client.Ask(context.Background(), members, p.ID, plenty) {
				if got.Err != nil || got.Standing.Me.Member != id {
					t.Errorf("got %v of %s", got, id)
				}
			}
			if err := p.client.Tell(context.Background(), a.Member, p.me(), epoch.Version{Beat: 1}); err != nil && !strings.Contains(err.Error(), "deadline") {
				t.Error(err)
			}
		})
	}
	all.Wait()
}

func TestMembersThatAreAskedNoMoreCostNoConnection(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, o := newPeer(t, good), newPeer(t, good)
	heard(t, p, o)
	p.client.tidy(keepFor)
	if p.client.links[o.ID].conn == nil {
		t.Error("a connection just used was closed")
	}
	p.client.links[o.ID].used = time.Now().Add(-keepFor)
	p.client.tidy(keepFor)
	if p.client.links[o.ID].conn != nil {
		t.Error("the connection is still open")
	}
	heard(t, p, o)
}

// A pod comes back with another address; and the next has IPv6.
func TestAddresses(t *testing.T) {
	good := issue(t, authority(t), spec, time.Now())
	p, o := newPeer(t, good), newPeer(t, good)
	heard(t, p, o)
	o.stop()
	o.start(t, "127.0.0.2:0")
	heard(t, p, o)
	o.stop()
	o.start(t, "[::1]:0")
	_, port, err := net.SplitHostPort(o.at)
	if err != nil {
		t.Fatal(err)
	}
	n, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	client := NewClient(ClientOptions{TLSDir: p.dir, Port: n, Log: p.log.logger()})
	defer client.Close()
	o.Address = "::1"
	if a := client.Ask(context.Background(), []record.Member{o.Member}, "", plenty)[o.ID]; a.Err != nil {
		t.Error(a.Err)
	}
	if got := NewClient(ClientOptions{Log: p.log.logger()}).address(o.Member); got != "[::1]:8009" {
		t.Errorf("got %s", got)
	}
}
