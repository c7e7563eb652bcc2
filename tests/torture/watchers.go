// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"math/rand"
	"net/http"
	"strings"
	"sync"
	"time"
)

// follower has what somebody who watches one service from one server has of it.
type follower struct {
	name, how string // the service; a poll or stream, and where
	mu        sync.Mutex
	have      state
}

func (f *follower) set(s state) {
	f.mu.Lock()
	f.have = s
	f.mu.Unlock()
}

func (f *follower) get() state {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.have
}

// poll follows by long polls on one server.
func (t *torture) poll(ctx context.Context, s *server, service string, f *follower) {
	var index uint64
	path := "/v1/health/service/" + service
	for ctx.Err() == nil {
		a, err := askUntil(ctx, s, "GET",
			fmt.Sprintf("%s?index=%d&wait=5s", path, index), nil, nil)
		if err != nil || a.status != 200 {
			pause(ctx.Done(), 50*time.Millisecond)
			continue
		}
		all, err := parse(path, a.body)
		got, bad := stateOf(all)
		if err != nil || bad != nil {
			t.violation("a poll at %s: %v %v", s.name, err, bad)
			continue
		}
		if a.index < index {
			t.violation("the index of %s fell at %s: %d after %d", path, s.name,
				a.index, index)
		}
		index = a.index
		f.set(got)
		t.count("polls answered", 1)
	}
}

type event struct{ name, id, data string }

// events reads server-sent events until the body ends.
func events(body *bufio.Reader, on func(event)) {
	var e event
	for {
		line, err := body.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		switch {
		case line == "":
			if e.name != "" {
				on(e)
			}
			e = event{}
		case strings.HasPrefix(line, "event: "):
			e.name = line[7:]
		case strings.HasPrefix(line, "id: "):
			e.id = line[4:]
		case strings.HasPrefix(line, "data: "):
			e.data = line[6:]
		}
	}
}

// stream follows by events, of whichever server takes the connection: what one has
// sent the next goes on from.
func (t *torture) stream(ctx context.Context, seed int64, service string, f *follower) {
	r := rand.New(rand.NewSource(seed))
	last := ""
	have := map[string]entry{}
	var fresh map[string]entry // a snapshot that is being sent
	tell := func() {
		var all []entry
		for _, e := range have {
			all = append(all, e)
		}
		s, err := stateOf(all)
		if err != nil {
			t.violation("a stream: %v", err)
		}
		f.set(s)
	}
	on := func(e event) {
		var d struct {
			Phase, Key string
			Entry      healthEntry
		}
		if err := json.Unmarshal([]byte(e.data), &d); err != nil {
			t.violation("a stream's %s: %v: %s", e.name, err, e.data)
			return
		}
		to := have
		if fresh != nil {
			to = fresh
		}
		switch {
		case e.name == "snapshot" && d.Phase == "begin":
			fresh = map[string]entry{}
		case e.name == "snapshot" && d.Phase == "end" && fresh != nil:
			have, fresh = fresh, nil
		case e.name == "put":
			to[d.Key] = entry{d.Entry.Service.ID, d.Entry.Service.Port}
		case e.name == "remove":
			delete(to, d.Key)
		}
		if e.id != "" {
			last = e.id
		}
		if fresh == nil {
			tell()
		}
		t.count("events", 1)
	}
	for ctx.Err() == nil {
		s := t.doors[r.Intn(len(t.doors))]
		q, _ := http.NewRequestWithContext(ctx, "GET",
			s.base+"/v1/health/service/"+service+"?stream", nil)
		if last != "" {
			q.Header.Set("Last-Event-ID", last)
		}
		fresh = nil
		// A connection that a stopped process holds is given up by its owner.
		if a, err := s.via.RoundTrip(q); err == nil {
			if a.StatusCode == 200 {
				guarded(a, func() { events(bufio.NewReader(a.Body), on) })
			}
			a.Body.Close()
		}
		pause(ctx.Done(), 50*time.Millisecond)
	}
}

// guarded closes the answer after a few seconds, so that streams move between
// servers all the time.
func guarded(a *http.Response, run func()) {
	timer := time.AfterFunc(3*time.Second, func() { a.Body.Close() })
	defer timer.Stop()
	run()
}

// chain sends the index that it holds to one server after the other, whatever kind of
// read: it must never fall.
func (t *torture) chain(ctx context.Context, seed int64, path string) {
	r := rand.New(rand.NewSource(seed))
	kinds := []string{"", "&stale", "&consistent", "&max_stale=10s"}
	var index uint64
	for ctx.Err() == nil {
		s := t.doors[r.Intn(len(t.doors))]
		how := kinds[r.Intn(len(kinds))]
		a, err := askUntil(ctx, s, "GET", fmt.Sprintf("%s?index=%d&wait=%dms%s", path,
			index, 1+r.Intn(300), how), nil, nil)
		if err != nil || a.status != 200 {
			pause(ctx.Done(), 20*time.Millisecond)
			continue
		}
		if a.index < index {
			t.violation("the index of %s fell at %s (%s): %d after %d", path, s.name,
				how, a.index, index)
		}
		index = a.index
		t.count("indexes compared", 1)
		pause(ctx.Done(), time.Duration(r.Intn(20))*time.Millisecond)
	}
}
