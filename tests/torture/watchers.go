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
	name string
	mu   sync.Mutex
	have state
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
		s := t.servers[r.Intn(len(t.servers))]
		q, _ := http.NewRequestWithContext(ctx, "GET",
			s.base+"/v1/health/service/"+service+"?stream", nil)
		if last != "" {
			q.Header.Set("Last-Event-ID", last)
		}
		fresh = nil
		// A connection that a stopped process holds is given up by its owner.
		if a, err := transport.RoundTrip(q); err == nil {
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
		s := t.servers[r.Intn(len(t.servers))]
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

// --- Healthy instances -------------------------------------------------------------

const steady = "steady"

// healthy answers the checks of the steady instances: always well.
func (t *torture) healthy() error {
	port := freePort()
	t.provider = fmt.Sprintf("http://127.0.0.1:%d/", port)
	srv := &http.Server{Addr: fmt.Sprintf("127.0.0.1:%d", port),
		Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(200)
		})}
	go srv.ListenAndServe()
	for _, s := range t.servers {
		body := map[string]interface{}{
			"ID": steady + "-" + s.name, "Name": steady, "Port": 80,
			"Checks": []map[string]interface{}{
				{"CheckID": "http-" + s.name, "HTTP": t.provider, "Interval": "1s"},
				{"CheckID": "ttl-" + s.name, "TTL": "30s", "Status": "passing"}}}
		a, err := ask(s, "PUT", "/v1/agent/service/register", body, requestLimit)
		if err != nil || a.status != 200 {
			return fmt.Errorf("%s does not take a service: %v %d %s", s.name, err,
				a.status, a.body)
		}
	}
	return nil
}

// beat tells an agent that the service's owner lives, as often as owners do.
func (t *torture) beat(ctx context.Context, s *server) {
	for ctx.Err() == nil {
		ask(s, "PUT", "/v1/agent/check/pass/ttl-"+s.name, nil, 5*time.Second)
		pause(ctx.Done(), 2*time.Second)
	}
}

// watchSteady: from when all of them have been in the answer, none may leave it.
func (t *torture) watchSteady(ctx context.Context, s *server) {
	var index uint64
	all := false
	for ctx.Err() == nil {
		a, err := askUntil(ctx, s, "GET", fmt.Sprintf(
			"/v1/health/service/%s?passing&index=%d&wait=2s", steady, index), nil, nil)
		if err != nil || a.status != 200 {
			pause(ctx.Done(), 50*time.Millisecond)
			continue
		}
		var have []healthEntry
		if err := json.Unmarshal(a.body, &have); err != nil {
			t.violation("%s: %v", s.name, err)
			continue
		}
		index = a.index
		if all && len(have) != len(t.servers) {
			var names []string
			for _, e := range have {
				names = append(names, e.Service.ID)
			}
			t.violation("%s answers %d of %d healthy instances: %s", s.name, len(have),
				len(t.servers), strings.Join(names, " "))
		}
		if len(have) == len(t.servers) && !all {
			all = true
			t.mu.Lock()
			t.steadySeen++
			t.mu.Unlock()
		}
		t.count("looks at healthy instances", 1)
	}
}
