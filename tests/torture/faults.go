// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/rand"
	"os"
	"strings"
	"syscall"
	"time"
)

// An evil is drawn: what it will do, how it begins, how it ends. Between the two it
// lasts. Whatever does not run, or is stopped, at the end of a round is revived.
type evil struct {
	what       string
	begin, end func() error

	wait     func(time.Duration) // between the two; nil: as long as was drawn
	silent   []string            // who cannot be reached or heard meanwhile
	doubtful []string            // who cannot be if other faults come to it
	least    time.Duration       // that long at the least, whatever was drawn
}

type fault struct {
	name  string
	draw  func(t *torture, r *rand.Rand) evil
	able  func(t *torture) string // "": it can be done here; else why not
	alone bool                    // with no others in its round
}

func none() error { return nil }

func signalled(p *process, s syscall.Signal) func() error {
	return func() error { p.signal(s); return nil }
}

func (t *torture) anyMember(r *rand.Rand) *member { return t.members[r.Intn(len(t.members))] }
func (t *torture) anyServer(r *rand.Rand) *server { return t.servers[r.Intn(len(t.servers))] }

func silent(p *process) []string { return []string{p.name} }

func killed(what string, p *process) evil {
	return evil{what: "kill -9 " + what, silent: silent(p),
		begin: func() error { p.kill(); return nil }, end: p.start}
}

func stopped(what string, p *process) evil {
	return evil{what: "SIGSTOP " + what, silent: silent(p),
		begin: signalled(p, syscall.SIGSTOP), end: signalled(p, syscall.SIGCONT)}
}

// The leader is whoever leads when the fault begins.
func ofLeader(how func(string, *process) evil) func(*torture, *rand.Rand) evil {
	return func(t *torture, r *rand.Rand) evil {
		var e evil
		return evil{what: how("etcd's leader", nil).what, begin: func() error {
			m := t.leader()
			if m == nil {
				m = t.members[0]
			}
			e = how(m.name, m.process)
			return e.begin()
		}, end: func() error {
			if e.end == nil {
				return nil
			}
			return e.end()
		}}
	}
}

func killedLater(what string, p *process) evil {
	if p == nil {
		return evil{what: "kill -9 " + what}
	}
	return killed(what, p)
}

func stoppedLater(what string, p *process) evil {
	if p == nil {
		return evil{what: "SIGSTOP " + what}
	}
	return stopped(what, p)
}

// cut holds these ways.
func (t *torture) cutWays(what string, ways []way) evil {
	return evil{what: what, begin: func() error {
		for _, w := range ways {
			t.net.hold(w, 1)
		}
		return nil
	}, end: func() error {
		for _, w := range ways {
			t.net.hold(w, -1)
		}
		return nil
	}}
}

// between: the ways from one to the others, the ways back, or both.
func between(one string, others []string, direction int) (string, []way) {
	var ways []way
	for _, o := range others {
		if o == one {
			continue
		}
		if direction != 1 {
			ways = append(ways, way{one, o})
		}
		if direction != 0 {
			ways = append(ways, way{o, one})
		}
	}
	return []string{"what it says", "what it hears", "both ways"}[direction], ways
}

func (t *torture) memberNames() []string {
	var names []string
	for _, m := range t.members {
		names = append(names, m.name)
	}
	return names
}

func partitionMember(t *torture, r *rand.Rand) evil {
	m := t.anyMember(r)
	how, ways := between(m.name, t.memberNames(), r.Intn(3))
	return t.cutWays(fmt.Sprintf("%s cut from the other members, %s", m.name, how), ways)
}

func partitionAll(t *torture, r *rand.Rand) evil {
	var ways []way
	for _, m := range t.members {
		_, w := between(m.name, t.memberNames(), 0)
		ways = append(ways, w...)
	}
	return t.cutWays("all members cut from each other", ways)
}

func partitionServer(t *torture, r *rand.Rand) evil {
	s := t.anyServer(r)
	others := t.memberNames()
	if r.Intn(2) == 0 {
		others = others[:1+r.Intn(len(others)-1)]
	}
	how, ways := between(s.name, others, r.Intn(3))
	return t.cutWays(fmt.Sprintf("%s cut from %s, %s", s.name,
		strings.Join(others, " "), how), ways)
}

func slowNetwork(t *torture, r *rand.Rand) evil {
	one := t.memberNames()[r.Intn(len(t.members))]
	d := time.Duration(20+r.Intn(300)) * time.Millisecond
	names := t.memberNames()
	for _, s := range t.servers {
		names = append(names, s.name)
	}
	_, ways := between(one, names, 2)
	set := func(d time.Duration) func() error {
		return func() error {
			for _, w := range ways {
				t.net.slow(w, d)
			}
			return nil
		}
	}
	return evil{what: fmt.Sprintf("%v on every way to and from %s", d, one),
		begin: set(d), end: set(0)}
}

func resets(t *torture, r *rand.Rand) evil {
	s := t.anyServer(r)
	return evil{what: "connections of " + s.name + " to etcd reset", begin: func() error {
		for _, m := range t.members {
			t.net.reset(s.name, m.name)
		}
		return nil
	}, end: none}
}

// compact: everything but the newest revisions, so that who was away loads again.
func compact(t *torture, r *rand.Rand) evil {
	back := r.Intn(20)
	return evil{what: fmt.Sprintf("compaction up to %d revisions ago", back), begin: func() error {
		for _, m := range t.members {
			var s struct {
				Header struct {
					Revision int64 `json:"revision,string"`
				}
			}
			if m.post("maintenance/status", "{}", &s) != nil || s.Header.Revision <= int64(back) {
				continue
			}
			body := fmt.Sprintf(`{"revision":"%d","physical":true}`,
				s.Header.Revision-int64(back))
			if m.post("kv/compaction", body, nil) == nil {
				return nil
			}
		}
		return nil
	}, end: none}
}

func defragment(t *torture, r *rand.Rand) evil {
	return evil{what: "defragmentation of each member", begin: func() error {
		for _, m := range t.members {
			m.post("maintenance/defragment", "{}", nil)
		}
		return nil
	}, end: none}
}

func clockJump(t *torture, r *rand.Rand) evil { return jumps(t.anyServer(r), r) }

func jumps(s *server, r *rand.Rand) evil {
	by := []string{"+3600", "-3600", "+86400", "-86400", "+5", "-5"}[r.Intn(6)]
	set := func(v string) func() error {
		return func() error { return os.WriteFile(s.clock, []byte(v+"\n"), 0o644) }
	}
	return evil{what: fmt.Sprintf("the clock of %s jumps by %s s", s.name, by),
		begin: set(by), end: set("+0")}
}

// --- Everything, one after the other -------------------------------------------------

func rolling(t *torture, r *rand.Rand) evil {
	return evil{what: "rolling restart of everything", begin: func() error {
		for _, s := range t.servers {
			s.end(syscall.SIGTERM, 20*time.Second)
			if err := s.start(); err != nil {
				return err
			}
			if err := t.ready(time.Minute); err != nil {
				return err
			}
		}
		for _, m := range t.members {
			m.end(syscall.SIGTERM, 20*time.Second)
			if err := m.start(); err != nil {
				return err
			}
			if err := t.ready(time.Minute); err != nil {
				return err
			}
		}
		return nil
	}, end: none}
}

func anywhere(*torture) string { return "" }

// The order is part of what a seed means: new ones go to the end.
var faults = []fault{
	{"kill-member", func(t *torture, r *rand.Rand) evil {
		m := t.anyMember(r)
		return killed(m.name, m.process)
	}, anywhere, false},
	{"kill-leader", ofLeader(killedLater), anywhere, false},
	{"stop-member", func(t *torture, r *rand.Rand) evil {
		m := t.anyMember(r)
		return stopped(m.name, m.process)
	}, anywhere, false},
	{"stop-leader", ofLeader(stoppedLater), anywhere, false},
	{"kill-server", func(t *torture, r *rand.Rand) evil {
		s := t.anyServer(r)
		return killed(s.name, s.process)
	}, anywhere, false},
	{"stop-server", func(t *torture, r *rand.Rand) evil {
		s := t.anyServer(r)
		return stopped(s.name, s.process)
	}, anywhere, false},
	{"partition-member", partitionMember, anywhere, false},
	{"partition-all", partitionAll, anywhere, false},
	{"partition-server", partitionServer, anywhere, false},
	{"slow-network", slowNetwork, anywhere, false},
	{"reset", resets, anywhere, false},
	{"compact", compact, anywhere, false},
	{"defragment", defragment, anywhere, false},
	{"clock", clockJump, func(t *torture) string {
		if t.servers[0].clock == "" {
			return "a clock that jumps needs libfaketime"
		}
		return ""
	}, false},
	{"full-disk", fullDisk, needsMounts, false},
	{"slow-disk", slowDisk, needsStrace, false},
	{"rolling", rolling, anywhere, false},
}
