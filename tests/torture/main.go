// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

// torture - servers of muster and their store, agents, clients that write down all they
// did, and faults that a seed draws. After each round everything is let heal, and what
// was promised is checked:
//
//	no acknowledged write is lost
//	register, deregister and reads (default and consistent) are linearizable
//	(porcupine), what was answered by nobody knows what included
//	an index never falls for who sends the one he holds, to whatever server
//	no healthy instance leaves the answers, no agent that lives is said to be dead;
//	one that is dead is said so within a bound
//	who watches has what there is within a bound after the faults end
//
// One line per round; what is wrong is said at once and makes the exit code 1. The
// same seed draws the same faults and the same clients; when what happens is up to the
// machine.
package main

import (
	"context"
	"flag"
	"fmt"
	"math/rand"
	"os"
	"os/signal"
	"path/filepath"
	"sort"
	"strings"
	"sync"
	"syscall"
	"time"
)

type torture struct {
	*cluster
	seed        int64
	pauseMs     int
	bound       time.Duration
	checkLimit  time.Duration
	lasting     time.Duration
	quiet       bool
	keep        bool
	failing     time.Duration
	measured    int
	interrupted chan os.Signal
	taken       map[string]bool // by faults of this round
	mounts      []string

	mu         sync.Mutex
	history    *history
	ledger     map[string]bool
	port       int
	counts     map[string]int
	violations []string
	excused    map[string]bool            // owners who may be taken for dead
	views      map[string]map[string]bool // what each door answers of the steady
	faults     []fault
	slowest    time.Duration

	slowestDeath time.Duration // until it was noticed
	lastRead     time.Duration
}

func fatal(format string, a ...interface{}) {
	fmt.Fprintf(os.Stderr, "torture: "+format+"\n", a...)
	os.Exit(2)
}

func (t *torture) say(format string, a ...interface{}) {
	fmt.Printf(format+"\n", a...)
}

func (t *torture) violationLocked(format string, a ...interface{}) {
	text := fmt.Sprintf(format, a...)
	if len(t.violations) < 100 {
		t.say("  WRONG at %.3f s: %s", float64(now())/1e9, text)
	}
	t.violations = append(t.violations, text)
	t.keep = true
}

func (t *torture) violation(format string, a ...interface{}) {
	t.mu.Lock()
	t.violationLocked(format, a...)
	t.mu.Unlock()
}

func (t *torture) count(what string, n int) {
	t.mu.Lock()
	t.counts[what] += n
	t.mu.Unlock()
}

func (t *torture) noteConvergence(d time.Duration) {
	t.mu.Lock()
	t.lastRead = d
	if d > t.slowest {
		t.slowest = d
	}
	t.mu.Unlock()
}

// nextPort: no two registrations have the same.
func (t *torture) nextPort() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.port++
	return t.port%65000 + 1
}

func newRand(seed int64) *rand.Rand { return rand.New(rand.NewSource(seed)) }

// --- A round -----------------------------------------------------------------------

type drawn struct {
	evil
	name      string
	at, lasts time.Duration
}

func (t *torture) draw(r *rand.Rand, from []fault, round int) []drawn {
	n := 1 + r.Intn(3)
	if len(from) == 1 {
		n = 1
	}
	var all []drawn
	t.taken = map[string]bool{}
	for i := 0; i < n; i++ {
		f := from[r.Intn(len(from))]
		if i == 0 { // so that each has its turn
			f = from[round%len(from)]
		}
		if f.alone && i > 0 {
			continue
		}
		all = append(all, drawn{f.draw(t, r), f.name,
			time.Duration(r.Intn(1500)) * time.Millisecond,
			t.lasting/4 + time.Duration(r.Int63n(int64(t.lasting)))})
		if f.alone {
			break
		}
	}
	return all
}

func (t *torture) do(all []drawn) {
	var wg sync.WaitGroup
	for _, d := range all {
		wg.Add(1)
		go func(d drawn) {
			defer wg.Done()
			time.Sleep(d.at)
			t.say("  %7.3f %s", float64(now())/1e9, d.what)
			t.count("fault "+d.name, 1)
			if err := d.begin(); err != nil {
				t.say("  %s: %v", d.what, err)
			}
			if d.wait != nil {
				d.wait(d.lasts)
			} else {
				time.Sleep(d.lasts)
			}
			if err := d.end(); err != nil {
				t.say("  end of %s: %v", d.what, err)
			}
		}(d)
	}
	wg.Wait()
}

// endedByItself: a server or an agent may refuse to start on a full disk, and say so;
// none may crash.
func (t *torture) endedByItself(p *process, how *os.ProcessState) {
	by := how.Sys().(syscall.WaitStatus)
	t.say("  %7.3f %s ended by itself: %v", float64(now())/1e9, p.name, how)
	t.count("ends without a cause from outside", 1)
	if by.Signaled() || by.ExitStatus() != 1 {
		t.violation("%s ended by itself: %v; see %s", p.name, how, p.log)
	}
}

// storesEnded tells from the servers' logs how often the etcd of one ended, and how
// often for want of room.
func (t *torture) storesEnded() {
	for _, s := range t.servers {
		text, _ := os.ReadFile(s.log)
		for _, line := range strings.Split(string(text), "\n") {
			if strings.Contains(line, "cluster: etcd ended") {
				t.count("stores that ended", 1)
				if strings.Contains(line, "no space left") {
					t.count("stores that ended for want of room", 1)
				}
			}
		}
	}
}

// restoreAll saves a snapshot and restores it: a new epoch, in which nothing differs.
func (t *torture) restoreAll(r *rand.Rand) {
	a, err := ask(t.anyServer(r), "GET", "/v1/snapshot", nil, time.Minute)
	if err == nil && a.status == 200 {
		a, err = ask(t.anyServer(r), "PUT", "/v1/snapshot", a.body, time.Minute)
	}
	if err != nil || a.status != 200 {
		t.violation("a snapshot was not saved and restored: %v %d %.200s", err, a.status, a.body)
		return
	}
	t.count("snapshots restored", 1)
}

func (t *torture) follow(ctx context.Context, r *rand.Rand, round int, wg *sync.WaitGroup) []*follower {
	var all []*follower
	run := func(f func()) {
		wg.Add(1)
		go func() { defer wg.Done(); f() }()
	}
	for k := 0; k < services; k++ {
		name := serviceName(round, k)
		for i := range t.doors {
			s := t.doors[i]
			f := &follower{name: name, how: "a poll at " + s.name}
			all = append(all, f)
			run(func() { t.poll(ctx, s, name, f) })
		}
		f, seed := &follower{name: name, how: "a stream"}, r.Int63()
		all = append(all, f)
		run(func() { t.stream(ctx, seed, name, f) })
	}
	return all
}

func (t *torture) round(round int, r *rand.Rand, from []fault) {
	began := time.Now()
	t.history = &history{}
	t.ledger = map[string]bool{}
	all := t.draw(r, from, round)
	var what []string
	for _, d := range all {
		what = append(what, d.what)
	}
	t.say("round %d: %s", round, strings.Join(what, "; "))

	ctx, cancel := context.WithCancel(context.Background())
	var watching, writing sync.WaitGroup
	followers := t.follow(ctx, r, round, &watching)
	t.excuse(all)
	stop := make(chan struct{})
	for i := 0; i < 6; i++ {
		n, seed := i, r.Int63()
		writing.Add(1)
		go func() {
			defer writing.Done()
			if n < 4 {
				t.client(n, seed, round, stop)
			} else {
				t.bookkeeper(n, seed, round, stop)
			}
		}()
	}
	t.do(all)
	if err := t.revive(); err != nil {
		fatal("%v", err)
	}
	time.Sleep(t.lasting / 4) // some life without faults
	close(stop)
	writing.Wait()
	if err := t.ready(time.Minute); err != nil {
		t.violation("%v", err)
	}
	if round%5 == 4 {
		t.restoreAll(r)
	}
	t.allBack(time.Now())
	t.converged(round, followers)
	t.nothingLost(round)
	cancel()
	watching.Wait()
	t.linearizable(round)
	t.say("  %.1f s; everybody had everything %.0f ms after", time.Since(began).Seconds(),
		float64(t.lastRead)/1e6)
}

// --- Life --------------------------------------------------------------------------

func (t *torture) background(ctx context.Context, r *rand.Rand, wg *sync.WaitGroup) {
	run := func(f func()) {
		wg.Add(1)
		go func() { defer wg.Done(); f() }()
	}
	for i := range t.doors {
		s := t.doors[i]
		run(func() { t.watchSteady(ctx, s) })
		run(func() { t.beat(ctx, s) })
		if !s.agent {
			run(func() { t.watchDeaths(ctx, s) })
		}
	}
	for _, path := range []string{"/v1/catalog/services", "/v1/catalog/nodes",
		"/v1/health/state/any", "/v1/health/service/" + steady} {
		seed, p := r.Int63(), path
		run(func() { t.chain(ctx, seed, p) })
	}
}

func (t *torture) able(names string) []fault {
	var from []fault
	for _, f := range t.faults {
		asked := false
		for _, n := range strings.Split(names, ",") {
			asked = asked || n == f.name
		}
		if names != "all" && !asked {
			continue
		}
		if why := f.able(t); why != "" {
			t.say("without %s: %s", f.name, why)
			continue
		}
		from = append(from, f)
	}
	if len(from) == 0 {
		fatal("none of the faults \"%s\" can be had", names)
	}
	return from
}

func (t *torture) summary(rounds int) {
	var names []string
	t.storesEnded()
	for n := range t.counts {
		names = append(names, n)
	}
	sort.Strings(names)
	t.say("seed %d: %d rounds in %.0f s, %d wrong", t.seed, rounds,
		time.Since(began).Seconds(), len(t.violations))
	for _, n := range names {
		t.say("  %-36s %d", n, t.counts[n])
	}
	t.say("  %-36s %v", "slowest to converge", t.slowest.Round(time.Millisecond))
	if t.slowestDeath > 0 {
		t.say("  %-36s %v", "slowest to notice a death", t.slowestDeath.Round(time.Millisecond))
	}
}

func main() {
	var (
		muster  = flag.String("muster", os.Getenv("MUSTER"), "the binary")
		seed    = flag.Int64("seed", 0, "of the faults and clients; 0: by the clock")
		rounds  = flag.Int("rounds", 0, "how many; 0: until -time is over")
		limit   = flag.Duration("time", 10*time.Minute, "how long, if -rounds is 0")
		names   = flag.String("faults", "all", "names, with commas")
		lasting = flag.Duration("lasting", 4*time.Second, "how long a fault lasts, about")
		bound   = flag.Duration("bound", 10*time.Second, "to converge in")
		pauseMs = flag.Int("pause", 15, "milliseconds between two requests of a client")
		folder  = flag.String("folder", "", "where everything is kept; \"\": a temporary one")
		hold    = flag.Bool("keep", false, "keep the folder")
		disks   = flag.Bool("disks", true, "mount small disks, if this is root")
		layout  = flag.String("layout", "external", "external: etcd beside the "+
			"servers, proxies between; managed: servers with a store of their own, and "+
			"agents, on hosts that are namespaces (root)")
		wires    = flag.String("wire", "build/tests/wire", "the binary of tests/net")
		failing  = flag.Duration("failing", time.Minute, "until who is dead is said so")
		detect   = flag.Int("detect", 0, "measure detection so often, instead of torture")
		checking = flag.Duration("check", time.Minute, "to check a history in")
	)
	flag.Parse()
	if *seed == 0 {
		*seed = time.Now().UnixNano() % 1e9
	}
	if *folder == "" {
		base := os.Getenv("TMPDIR")
		if _, err := os.Stat("/dev/shm"); err == nil && base == "" {
			base = "/dev/shm"
		}
		made, err := os.MkdirTemp(base, "muster-torture-")
		if err != nil {
			fatal("%v", err)
		}
		*folder = made
	}
	c, list, err := laid(*layout, *folder, *muster, *wires, *seed)
	if err != nil {
		fatal("%v", err)
	}
	t := &torture{cluster: c, faults: list, seed: *seed, pauseMs: *pauseMs, bound: *bound,
		checkLimit: *checking, lasting: *lasting, keep: *hold,
		counts: map[string]int{}, history: &history{}}
	t.failing, t.measured = *failing, *detect
	for _, s := range t.doors {
		s.ends = t.endedByItself
	}
	os.Exit(t.live(*rounds, *limit, *names, *disks))
}

func laid(layout, folder, muster, wires string, seed int64) (*cluster, []fault, error) {
	switch layout {
	case "external":
		c, err := external(folder, muster)
		return c, faults, err
	case "managed":
		if why := needsWire(wires); why != "" {
			return nil, nil, fmt.Errorf("no hosts: %s", why)
		}
		c, err := managed(folder, muster, wires, seed)
		return c, managedFaults, err
	}
	return nil, nil, fmt.Errorf("-layout %s: external or managed is meant", layout)
}

func (t *torture) live(rounds int, limit time.Duration, names string, disks bool) int {
	if disks && os.Geteuid() == 0 {
		for _, d := range t.small {
			if err := t.mount(d); err != nil {
				t.say("no small disk: %v", err)
			}
		}
	}
	defer t.clean()
	t.interrupted = make(chan os.Signal, 1)
	signal.Notify(t.interrupted, os.Interrupt, syscall.SIGTERM)
	from := t.able(names)
	if err := t.start(); err != nil {
		t.say("%v; see %s", err, t.folder)
		t.keep = true
		return 2
	}
	if err := t.healthy(); err != nil {
		t.say("%v; see %s", err, t.folder)
		t.keep = true
		return 2
	}
	t.say("seed %d, in %s", t.seed, t.folder)
	r := newRand(t.seed)
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	t.background(ctx, r, &wg)
	t.allBack(time.Now()) // and on each agent's disk, before that is full
	if t.measured > 0 {
		t.detection(t.measured)
		cancel()
		wg.Wait()
		t.summary(0)
		return 0
	}
	n := 0
	for deadline := time.Now().Add(limit); ; n++ {
		if (rounds > 0 && n >= rounds) || (rounds == 0 && time.Now().After(deadline)) {
			break
		}
		select {
		case <-t.interrupted:
			rounds = n + 1
		default:
		}
		t.round(n, r, from)
	}
	cancel()
	wg.Wait()
	t.summary(n)
	if len(t.violations) > 0 {
		t.say("kept: %s", t.folder)
		return 1
	}
	return 0
}

func (t *torture) clean() {
	t.close()
	for _, m := range t.mounts {
		if t.keep {
			copyLogs(m, filepath.Join(t.folder, "kept-"+filepath.Base(m)))
		}
		syscall.Unmount(m, 0)
	}
	if !t.keep {
		os.RemoveAll(t.folder)
	}
}

// copyLogs keeps the small files of a disk that is about to go.
func copyLogs(from, to string) {
	os.MkdirAll(to, 0o755)
	filepath.Walk(from, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() || info.Size() > 1<<24 {
			return nil
		}
		if text, err := os.ReadFile(path); err == nil {
			os.WriteFile(filepath.Join(to, filepath.Base(path)), text, 0o644)
		}
		return nil
	})
}
