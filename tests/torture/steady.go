// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"
)

// Healthy instances, one with each server and agent, on its host, that never fail: none
// may leave the answers of ?passing, and no node may be declared dead, as long as its
// owner lives and can be reached. What a round's faults do to an owner is known before:
// who is silent for longer than that is excused until the round is over and everybody
// has everything again.

const (
	steady = "steady"
	// Silence that nobody may take for death. Suspicion begins at 5 s.
	tolerated = 4 * time.Second
)

func steadyID(owner string) string { return steady + "-" + owner }

// provider answers checks, always well.
func (t *torture) provider(s *server) (string, error) {
	var l net.Listener
	var err error
	if t.wire != nil {
		l, err = t.wire.listen(s.host, 80)
	} else {
		l, err = net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", freePort()))
	}
	if err != nil {
		return "", err
	}
	go http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(200)
	}))
	return l.Addr().String(), nil
}

func (t *torture) registerSteady(s *server) error {
	host, port, _ := net.SplitHostPort(s.provides)
	number, _ := net.LookupPort("tcp", port)
	body := map[string]interface{}{
		"ID": steadyID(s.name), "Name": steady, "Address": host, "Port": number,
		"Checks": []map[string]interface{}{
			{"CheckID": "http-" + s.name, "HTTP": "http://" + s.provides + "/",
				"Interval": "1s"},
			{"CheckID": "ttl-" + s.name, "TTL": "30s", "Status": "passing"}}}
	a, err := ask(s, "PUT", "/v1/agent/service/register", body, requestLimit)
	if err != nil || a.status != 200 {
		return fmt.Errorf("%s does not take a service: %v %d %s", s.name, err,
			a.status, a.body)
	}
	return nil
}

func (t *torture) healthy() error {
	t.views = map[string]map[string]bool{}
	t.excused = map[string]bool{}
	for _, s := range t.doors {
		var err error
		if s.provides, err = t.provider(s); err != nil {
			return err
		}
		if err := t.registerSteady(s); err != nil {
			return err
		}
		t.views[s.name] = map[string]bool{}
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

// watchSteady: an instance that has been in the answer may not leave it.
func (t *torture) watchSteady(ctx context.Context, s *server) {
	var index uint64
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
		t.lookAt(s, have)
		t.count("looks at healthy instances", 1)
	}
}

func (t *torture) lookAt(s *server, have []healthEntry) {
	now := map[string]bool{}
	for _, e := range have {
		now[e.Service.ID] = true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, owner := range t.doors {
		id := steadyID(owner.name)
		if t.views[s.name][id] && !now[id] {
			if t.excused[owner.name] {
				t.counts["instances that left with their hosts"]++
			} else {
				t.counts["false removals"]++
				t.violationLocked("%s answers without the healthy %s", s.name, id)
			}
		}
	}
	t.views[s.name] = now
}

// watchDeaths: nobody who lives is said to be dead.
func (t *torture) watchDeaths(ctx context.Context, s *server) {
	var index uint64
	told := map[string]bool{}
	for ctx.Err() == nil {
		a, err := askUntil(ctx, s, "GET", fmt.Sprintf(
			"/v1/health/state/critical?index=%d&wait=2s", index), nil, nil)
		if err != nil || a.status != 200 {
			pause(ctx.Done(), 50*time.Millisecond)
			continue
		}
		var have []struct{ Node, CheckID string }
		if err := json.Unmarshal(a.body, &have); err != nil {
			t.violation("%s: %v", s.name, err)
			continue
		}
		index = a.index
		now := map[string]bool{}
		t.mu.Lock()
		for _, e := range have {
			if e.CheckID != "serfHealth" {
				continue
			}
			now[e.Node] = true
			if !told[e.Node] && !t.excused[e.Node] {
				t.counts["false deaths"]++
				t.violationLocked("%s says that %s is dead, which lives", s.name, e.Node)
			}
		}
		t.mu.Unlock()
		told = now
		t.count("looks at who is dead", 1)
	}
}

// excuse counts who is silent for how long in this round, and how often nobody was.
func (t *torture) excuse(all []drawn) {
	silent := map[string]time.Duration{}
	for _, d := range all {
		who := d.silent
		if len(all) > 1 {
			who = append(append([]string{}, who...), d.doubtful...)
		}
		for _, owner := range who {
			silent[owner] += d.lasts + d.least
		}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	chances := 0 // of those who may not be taken for dead
	for _, owner := range t.doors {
		if silent[owner.name] > tolerated {
			t.excused[owner.name] = true
		}
		if !t.excused[owner.name] {
			chances++
		}
	}
	for _, d := range all {
		for _, kind := range []string{"kill", "stop", "partition", "cut", "lossy", "slow",
			"rolling", "replace", "reset", "full"} {
			if strings.HasPrefix(d.name, kind) {
				t.counts["chances of a false removal"] += chances
				break
			}
		}
	}
}

// allBack waits until every door answers every healthy instance, and ends excuses.
func (t *torture) allBack(began time.Time) {
	missing := func() []string {
		t.mu.Lock()
		defer t.mu.Unlock()
		var who []string
		for _, s := range t.doors {
			for _, owner := range t.doors {
				if !t.views[s.name][steadyID(owner.name)] {
					who = append(who, owner.name+" at "+s.name)
				}
			}
		}
		return who
	}
	who := missing()
	for ; len(who) > 0 && time.Since(began) < t.bound; who = missing() {
		time.Sleep(5 * time.Millisecond)
	}
	if len(who) > 0 {
		t.violation("healthy instances that are not answered %v after the faults: %s",
			t.bound, strings.Join(who, ", "))
	}
	t.mu.Lock()
	t.excused = map[string]bool{}
	t.mu.Unlock()
}
