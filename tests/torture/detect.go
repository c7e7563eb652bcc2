// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"regexp"
	"sort"
	"strconv"
	"syscall"
	"time"
)

// How long until an agent that is gone is suspect, failed, and out of the answers, each
// way in which it can be gone, with observers and without. Not a test: a table.

type loss struct {
	name    string
	agent   int
	alone   bool // nobody else is there to observe
	outcome string
	begin   func(*torture, *server) error
	end     func(*torture, *server) error
}

type detected struct{ suspect, failed, critical, out []float64 }

func cutFrom(others func(*torture, *server) []*server) (begin, end func(*torture, *server) error) {
	run := func(t *torture, a *server, by int) error {
		e := t.apart("", []*server{a}, others(t, a), 2)
		if by > 0 {
			return e.begin()
		}
		return e.end()
	}
	return func(t *torture, a *server) error { return run(t, a, 1) },
		func(t *torture, a *server) error { return run(t, a, -1) }
}

func losses() []loss {
	kill := func(_ *torture, a *server) error { a.kill(); return nil }
	start := func(_ *torture, a *server) error { return a.start() }
	stop := func(_ *torture, a *server) error { a.signal(syscall.SIGSTOP); return nil }
	wake := func(_ *torture, a *server) error { a.signal(syscall.SIGCONT); return nil }
	off, on := cutFrom(func(t *torture, a *server) []*server { return t.without(a) })
	from, back := cutFrom(func(t *torture, a *server) []*server { return t.servers })
	return []loss{
		{"host unreachable", 0, false, "", off, on},
		{"agent killed, host answers", 0, false, "", kill, start},
		{"agent stopped (SIGSTOP)", 0, false, "", stop, wake},
		{"cut from the servers alone", 0, false, "", from, back},
		{"behind a refused listener, cut from the servers", managedAgents - 1, false, "", from, back},
		{"behind a refused listener, agent killed", managedAgents - 1, false, "", kill, start},
		{"host unreachable, no observers", 0, true, "", off, on},
		{"agent killed, host answers, no observers", 0, true, "", kill, start},
	}
}

const watched = 16 * time.Second // what has not happened by then does not

var told = regexp.MustCompile(`node=(\S+) is (suspect|failed|alive again): unheard_ms=(\d+)`)

// logged reads what holders of the duty said since.
func (t *torture) logged(node string, from map[string]int64, what string) (float64, bool) {
	for _, s := range t.servers {
		text, err := os.ReadFile(s.log)
		if err != nil || int64(len(text)) < from[s.name] {
			continue
		}
		for _, m := range told.FindAllSubmatch(text[from[s.name]:], -1) {
			if string(m[1]) == node && string(m[2]) == what {
				ms, _ := strconv.Atoi(string(m[3]))
				return float64(ms) / 1000, true
			}
		}
	}
	return 0, false
}

func (t *torture) answered(owner string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.views[t.servers[0].name][steadyID(owner)]
}

func (t *torture) lose(l *loss, d *detected) {
	a := t.agents[l.agent]
	t.allBackOf(l)
	from := map[string]int64{}
	for _, s := range t.servers {
		if info, err := os.Stat(s.log); err == nil {
			from[s.name] = info.Size()
		}
	}
	t.mu.Lock()
	for _, s := range t.doors {
		t.excused[s.name] = true
	}
	t.mu.Unlock()
	begun := time.Now()
	if err := l.begin(t, a); err != nil {
		t.violation("%s: %v", l.name, err)
	}
	critical, out := false, false
	for time.Since(begun) < watched {
		if !critical && t.dead(a.name) {
			critical = true
			d.critical = append(d.critical, time.Since(begun).Seconds())
		}
		if !out && !t.answered(a.name) {
			out = true
			d.out = append(d.out, time.Since(begun).Seconds())
		}
		time.Sleep(10 * time.Millisecond)
	}
	if s, is := t.logged(a.name, from, "suspect"); is {
		d.suspect = append(d.suspect, s)
	}
	if s, is := t.logged(a.name, from, "failed"); is {
		d.failed = append(d.failed, s)
	}
	if err := l.end(t, a); err != nil {
		t.violation("%s: %v", l.name, err)
	}
	t.allBackOf(l)
}

func (t *torture) allBackOf(l *loss) {
	for deadline := time.Now().Add(t.failing); time.Now().Before(deadline); {
		if !t.dead(t.agents[l.agent].name) && t.answered(t.agents[l.agent].name) {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.violation("%s: it did not come back", l.name)
}

func column(v []float64, of int) string {
	if len(v) == 0 {
		return "-"
	}
	sort.Float64s(v)
	s := fmt.Sprintf("%.1f .. %.1f", v[0], v[len(v)-1])
	if len(v) < of {
		s += fmt.Sprintf(" (%d of %d)", len(v), of)
	}
	return s
}

func (t *torture) detection(times int) {
	t.say("| what is lost | suspect, s unheard | failed, s unheard | serfHealth critical, " +
		"s after | out of the answers, s after |\n|---|---|---|---|---|")
	alone := false
	for _, l := range losses() {
		l := l
		if l.alone && !alone {
			alone = true
			for _, a := range t.agents[1:] {
				a.end(syscall.SIGTERM, 20*time.Second)
			}
		}
		var d detected
		for i := 0; i < times && len(t.interrupted) == 0; i++ {
			time.Sleep(time.Duration(i*137%1000) * time.Millisecond) // anywhere in a beat
			t.lose(&l, &d)
		}
		t.say("| %s | %s | %s | %s | %s |", l.name, column(d.suspect, times),
			column(d.failed, times), column(d.critical, times), column(d.out, times))
	}
}
