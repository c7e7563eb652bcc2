// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"math/rand"
	"strings"
	"syscall"
	"time"
)

// --- Servers and their stores ---------------------------------------------------------

// storeKilled: the child of a server, not the server.
func storeKilled(t *torture, r *rand.Rand) evil {
	s := t.anyServer(r)
	return evil{what: "kill -9 the store of " + s.name, begin: func() error {
		s.signalStore(syscall.SIGKILL)
		return nil
	}, end: none}
}

func storeStopped(t *torture, r *rand.Rand) evil {
	s := t.anyServer(r)
	return evil{what: "SIGSTOP the store of " + s.name, begin: func() error {
		s.signalStore(syscall.SIGSTOP)
		return nil
	}, end: func() error {
		s.signalStore(syscall.SIGCONT)
		return nil
	}}
}

// leading does it to the server whose store leads when the fault begins.
func leading(what string, begin, end func(*server) error) func(*torture, *rand.Rand) evil {
	return func(t *torture, r *rand.Rand) evil {
		s := t.anyServer(r) // if nobody knows who leads
		e := evil{what: what + " where the store's leader is", begin: func() error {
			if l := t.leads(); l != nil {
				s = l
			}
			return begin(s)
		}, end: func() error { return end(s) }}
		for _, s := range t.servers { // it may be any
			e.silent = append(e.silent, s.name)
		}
		return e
	}
}

// replaced: the disk of a server is lost, and another one takes its place; half of the
// time somebody removes the lost one by hand first.
func replaced(t *torture, r *rand.Rand) evil {
	s := t.anyServer(r)
	byHand := r.Intn(2) == 0
	what := s.name + " loses its disk and is replaced"
	if byHand {
		what += ", after remove-peer"
	}
	t.mu.Lock()
	t.excused[s.name] = true
	t.mu.Unlock()
	return evil{what: what, begin: func() error {
		s.kill()
		time.Sleep(100 * time.Millisecond) // its child dies with it
		return t.wipe(s)
	}, end: func() error {
		if byHand {
			if err := t.removePeer(s); err != nil {
				return err
			}
		}
		if err := s.start(); err != nil {
			return err
		}
		if err := t.whole(t.failing); err != nil {
			t.violation("%s was not replaced: %v", s.name, err)
			return nil
		}
		t.count("servers replaced", 1)
		if err := t.readyAll([]*server{s}, t.failing); err != nil {
			return err
		}
		return t.registerSteady(s)
	}}
}

func (t *torture) removePeer(gone *server) error {
	var last error
	for deadline := time.Now().Add(t.failing); time.Now().Before(deadline); {
		for _, s := range t.servers {
			if s == gone {
				continue
			}
			all, err := t.peers(s)
			last = err
			for _, p := range all {
				if p.Node != gone.name {
					continue
				}
				a, err := ask(s, "DELETE", "/v1/operator/raft/peer?id="+p.ID, nil, requestLimit)
				if err == nil && a.status == 200 {
					return nil
				}
				last = fmt.Errorf("remove-peer: %v %d %s", err, a.status, a.body)
			}
		}
		time.Sleep(100 * time.Millisecond)
	}
	t.violation("%s cannot be removed: %v", gone.name, last)
	return last
}

func rollingAll(t *torture, r *rand.Rand) evil {
	e := evil{what: "rolling restart of every server and agent", begin: func() error {
		for _, s := range t.doors {
			s.end(syscall.SIGTERM, 20*time.Second)
			if err := s.start(); err != nil {
				return err
			}
			if err := t.ready(time.Minute); err != nil {
				return err
			}
		}
		return nil
	}, end: none}
	for _, a := range t.agents { // they leave, as they are told to
		e.silent = append(e.silent, a.name)
	}
	e.least = 2 * tolerated
	return e
}

// --- Agents ---------------------------------------------------------------------------

// anyAgent: one that no other fault of the round has.
func (t *torture) anyAgent(r *rand.Rand, n int) *server {
	from := r.Intn(n)
	for i := 0; i < n; i++ {
		if a := t.agents[(from+i)%n]; !t.taken[a.name] {
			t.taken[a.name] = true
			return a
		}
	}
	return t.agents[from]
}

// untilFailed waits until a server says that the node is dead, and what became of its
// healthy instance then.
func (t *torture) untilFailed(s *server) func(time.Duration) {
	return func(lasts time.Duration) {
		begun := time.Now()
		for !t.dead(s.name) {
			if time.Since(begun) > t.failing {
				t.violation("nobody says that %s is dead after %v", s.name, t.failing)
				return
			}
			time.Sleep(20 * time.Millisecond)
		}
		took := time.Since(begun)
		t.say("  %7.3f %s is said to be dead after %.1f s", float64(now())/1e9, s.name,
			took.Seconds())
		t.mu.Lock()
		t.counts["dead agents noticed"]++
		if took > t.slowestDeath {
			t.slowestDeath = took
		}
		t.mu.Unlock()
		time.Sleep(lasts / 4)
	}
}

func (t *torture) dead(node string) bool {
	for _, s := range t.servers {
		a, err := ask(s, "GET", "/v1/health/node/"+node+"?stale", nil, time.Second)
		var checks []struct{ CheckID, Status string }
		if err != nil || a.status != 200 || json.Unmarshal(a.body, &checks) != nil {
			continue
		}
		for _, c := range checks {
			if c.CheckID == "serfHealth" && c.Status == "critical" {
				return true
			}
		}
	}
	return false
}

func agentKilled(t *torture, r *rand.Rand) evil {
	a := t.anyAgent(r, managedAgents)
	e := killed(a.name+" until it is noticed", a.process)
	e.wait, e.least = t.untilFailed(a), 2*tolerated
	return e
}

func agentGone(t *torture, r *rand.Rand) evil {
	a := t.anyAgent(r, managedAgents)
	e := t.apart(fmt.Sprintf("the host of %s cut off until it is noticed", a.name),
		[]*server{a}, t.without(a), 2)
	e.silent, e.wait, e.least = []string{a.name}, t.untilFailed(a), 2*tolerated
	return e
}

func agentRestarted(t *torture, r *rand.Rand) evil {
	a := t.anyAgent(r, managedAgents)
	return evil{what: a.name + " leaves and comes back", silent: silent(a.process),
		least: 2 * tolerated, begin: func() error {
			a.end(syscall.SIGTERM, 20*time.Second)
			return nil
		}, end: a.start}
}

// --- The network ----------------------------------------------------------------------

func (t *torture) without(some ...*server) []*server {
	var rest []*server
	for _, s := range t.doors {
		out := false
		for _, x := range some {
			out = out || x == s
		}
		if !out {
			rest = append(rest, s)
		}
	}
	return rest
}

func names(some []*server) string {
	var all []string
	for _, s := range some {
		all = append(all, s.name)
	}
	return strings.Join(all, " ")
}

// apart cuts what the one group says (0), what it hears (1), or both (2).
func (t *torture) apart(what string, some, others []*server, direction int) evil {
	each := func(by int) func() error {
		return func() error {
			for _, a := range some {
				for _, b := range others {
					if direction != 1 {
						if err := t.wire.hold(a.host, b.host, by); err != nil {
							return err
						}
					}
					if direction != 0 {
						if err := t.wire.hold(b.host, a.host, by); err != nil {
							return err
						}
					}
				}
			}
			return nil
		}
	}
	how := []string{"what it says", "what it hears", "both ways"}[direction]
	return evil{what: what + ", " + how, begin: each(1), end: each(-1)}
}

// An agent cut from all servers is reached by other agents: it lives, and nobody may
// say otherwise, however long. Not the one behind a firewall.
func agentFromServers(t *torture, r *rand.Rand) evil {
	a := t.anyAgent(r, managedAgents-1)
	e := t.apart(a.name+" cut from all servers", []*server{a}, t.servers, r.Intn(3))
	e.doubtful = []string{a.name}
	return e
}

// The agent behind a firewall can only be heard.
func refusedFromServers(t *torture, r *rand.Rand) evil {
	a := t.refused()
	t.taken[a.name] = true
	e := t.apart(a.name+", whom nobody can reach, cut from all servers", []*server{a},
		t.servers, r.Intn(3))
	e.silent = []string{a.name}
	return e
}

func serverFromServers(t *torture, r *rand.Rand) evil {
	s := t.anyServer(r)
	var others []*server
	for _, o := range t.servers {
		if o != s {
			others = append(others, o)
		}
	}
	e := t.apart(s.name+" cut from the other servers", []*server{s}, others, r.Intn(3))
	e.doubtful = []string{s.name}
	return e
}

// A part of the hosts, servers and agents, apart from the others.
func minority(t *torture, r *rand.Rand) evil {
	some := []*server{t.anyServer(r)}
	for i := r.Intn(3); i > 0; i-- {
		some = append(some, t.anyAgent(r, managedAgents))
	}
	e := t.apart(names(some)+" cut from everybody else", some, t.without(some...), r.Intn(3))
	for _, s := range some {
		e.silent = append(e.silent, s.name)
	}
	return e
}

func serversApart(t *torture, r *rand.Rand) evil {
	e := t.apart("all servers cut from each other", t.servers, t.servers, 0)
	for _, s := range t.servers {
		e.doubtful = append(e.doubtful, s.name)
	}
	return e
}

func lossy(t *torture, r *rand.Rand) evil {
	who, host := "everybody", "*"
	if r.Intn(2) == 0 {
		s := t.doors[r.Intn(len(t.doors))]
		who, host = s.name, fmt.Sprint(s.host)
	}
	rules := fmt.Sprintf("loss=%d delay_ms=%d jitter_ms=%d duplicate=1 reorder=1",
		1+r.Intn(10), r.Intn(50), r.Intn(20))
	say := func(rules string) func() error {
		return func() error {
			if err := t.wire.say("link %s * %s", host, rules); err != nil {
				return err
			}
			return t.wire.say("link * %s %s", host, rules)
		}
	}
	return evil{what: "the wires of " + who + ": " + rules, begin: say(rules),
		end: say("loss=0 delay_ms=0 jitter_ms=0 duplicate=0 reorder=0")}
}

// The order is part of what a seed means: new ones go to the end.
var managedFaults = []fault{
	{"kill-server", func(t *torture, r *rand.Rand) evil {
		s := t.anyServer(r)
		return killed(s.name, s.process)
	}, anywhere, false},
	{"stop-server", func(t *torture, r *rand.Rand) evil {
		s := t.anyServer(r)
		return stopped(s.name, s.process)
	}, anywhere, false},
	{"kill-store", storeKilled, anywhere, false},
	{"stop-store", storeStopped, anywhere, false},
	{"kill-leader", leading("kill -9", func(s *server) error { s.kill(); return nil },
		func(s *server) error { return s.start() }), anywhere, false},
	{"stop-leader", leading("SIGSTOP", func(s *server) error { s.signal(syscall.SIGSTOP); return nil },
		func(s *server) error { s.signal(syscall.SIGCONT); return nil }), anywhere, false},
	{"kill-agent", agentKilled, anywhere, false},
	{"cut-agent", agentGone, anywhere, false},
	{"kill-agent-briefly", func(t *torture, r *rand.Rand) evil {
		a := t.anyAgent(r, managedAgents)
		return killed(a.name, a.process)
	}, anywhere, false},
	{"stop-agent", func(t *torture, r *rand.Rand) evil {
		a := t.anyAgent(r, managedAgents)
		return stopped(a.name, a.process)
	}, anywhere, false},
	{"restart-agent", agentRestarted, anywhere, false},
	{"partition-agent", agentFromServers, anywhere, false},
	{"partition-refused", refusedFromServers, anywhere, false},
	{"partition-server", serverFromServers, anywhere, false},
	{"partition-minority", minority, anywhere, false},
	{"partition-servers", serversApart, anywhere, false},
	{"lossy", lossy, anywhere, false},
	{"clock", func(t *torture, r *rand.Rand) evil {
		return jumps(t.agents[r.Intn(len(t.agents))], r)
	}, func(t *torture) string {
		if t.agents[0].clock == "" {
			return "a clock that jumps needs libfaketime"
		}
		return ""
	}, false},
	{"replace", replaced, anywhere, true},
	{"rolling", rollingAll, anywhere, true},
	{"full-disk", fullServers, needsMounts, false},
	{"full-agent", fullAgent, needsMounts, false},
	{"slow-disk", slowServers, needsStrace, false},
}
