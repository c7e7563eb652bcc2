// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"
)

const requestLimit = 12 * time.Second // muster holds a request for 7 s

type answer struct {
	status int
	index  uint64
	body   []byte
	header http.Header
}

var transport = &http.Transport{
	DialContext:         (&net.Dialer{Timeout: 2 * time.Second}).DialContext,
	MaxIdleConnsPerHost: 64,
	DisableCompression:  true,
}

func ask(s *server, method, path string, body interface{}, limit time.Duration) (answer, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	return askUntil(ctx, s, method, path, body, nil)
}

func askUntil(ctx context.Context, s *server, method, path string, body interface{},
	header http.Header) (answer, error) {
	var in io.Reader
	if raw, is := body.([]byte); is {
		in = bytes.NewReader(raw)
	} else if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return answer{}, err
		}
		in = bytes.NewReader(text)
	}
	q, err := http.NewRequestWithContext(ctx, method, s.base+path, in)
	if err != nil {
		return answer{}, err
	}
	for k, v := range header {
		q.Header[k] = v
	}
	r, err := s.via.RoundTrip(q)
	if err != nil {
		return answer{}, err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return answer{}, err
	}
	index, _ := strconv.ParseUint(r.Header.Get("X-Consul-Index"), 10, 64)
	return answer{r.StatusCode, index, text, r.Header}, nil
}

// --- What is recorded -----------------------------------------------------------

const (
	services  = 4 // per round, each a history of its own
	instances = 3 // of each service: one state, read as a whole
)

type kind int

const (
	read kind = iota
	register
	deregister
)

type input struct {
	kind     kind
	instance int
	port     int
}

type state [instances]int // the port of each instance, 0: not there

type operation struct {
	client      int
	in          input
	out         state
	known       bool // was answered with 200
	call, reply int64
	where, what string // for people
}

type history struct {
	mu  sync.Mutex
	ops [services][]operation
}

func (h *history) add(service int, o operation) {
	h.mu.Lock()
	h.ops[service] = append(h.ops[service], o)
	h.mu.Unlock()
}

var began = time.Now()

func now() int64 { return int64(time.Since(began)) }

// --- Clients --------------------------------------------------------------------

func serviceName(round, k int) string { return fmt.Sprintf("r%d-s%d", round, k) }
func ledgerName(round int) string     { return fmt.Sprintf("r%d-ledger", round) }

type entry struct {
	ServiceID   string
	ServicePort int
}

// healthEntry is what health/service has.
type healthEntry struct {
	Service struct {
		ID   string
		Port int
	}
}

func stateOf(entries []entry) (state, error) {
	var s state
	for _, e := range entries {
		k, err := strconv.Atoi(e.ServiceID[len(e.ServiceID)-1:])
		if err != nil || k >= instances {
			return s, fmt.Errorf("an instance nobody registered: %q", e.ServiceID)
		}
		s[k] = e.ServicePort
	}
	return s, nil
}

func parse(path string, body []byte) ([]entry, error) {
	if len(path) > 10 && path[:10] == "/v1/health" {
		var h []healthEntry
		err := json.Unmarshal(body, &h)
		var all []entry
		for _, e := range h {
			all = append(all, entry{e.Service.ID, e.Service.Port})
		}
		return all, err
	}
	var all []entry
	err := json.Unmarshal(body, &all)
	return all, err
}

// unsent: nothing can have reached a server.
func unsent(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

func registration(service, id string, node, port int) map[string]interface{} {
	return map[string]interface{}{
		"Node": fmt.Sprintf("t%d", node), "Address": "10.0.0.1",
		"Service": map[string]interface{}{"ID": id, "Service": service, "Port": port}}
}

// write sends one and says what is known of it: done, not done, or neither.
func (t *torture) write(s *server, path string, body interface{}) (done, maybe bool, what string) {
	a, err := ask(s, "PUT", path, body, requestLimit)
	switch {
	case err != nil && unsent(err):
		return false, false, "refused"
	case err != nil:
		return false, true, err.Error()
	case a.status == 200:
		if string(a.body) != "true" {
			t.violation("%s answered 200 with %q", s.name, a.body)
		}
		return true, true, "200"
	case a.status == 429:
		return false, false, "429"
	case a.status == 500:
		return false, true, "500"
	}
	t.violation("%s %s answered %d %q", s.name, path, a.status, a.body)
	return false, true, fmt.Sprint(a.status)
}

func (t *torture) oneRead(r *rand.Rand, client, k int, s *server, name string) {
	paths := []string{"/v1/catalog/service/" + name,
		"/v1/catalog/service/" + name + "?consistent",
		"/v1/health/service/" + name, "/v1/health/service/" + name + "?consistent"}
	path := paths[r.Intn(len(paths))]
	call := now()
	a, err := ask(s, "GET", path, nil, requestLimit)
	if err != nil || a.status == 500 {
		t.count("reads failed", 1)
		return
	}
	if a.status != 200 {
		t.violation("%s %s answered %d %q", s.name, path, a.status, a.body)
		return
	}
	all, err := parse(path, a.body)
	got, bad := stateOf(all)
	if err != nil || bad != nil {
		t.violation("%s %s: %v %v", s.name, path, err, bad)
		return
	}
	t.count("reads", 1)
	t.history.add(k, operation{client, input{kind: read}, got, true, call, now(), s.name, path})
}

func (t *torture) oneWrite(r *rand.Rand, client, k int, s *server, name string) {
	i := r.Intn(instances)
	id := fmt.Sprintf("%s-%d", name, i)
	in := input{kind: register, instance: i, port: t.nextPort()}
	path := "/v1/catalog/register"
	var body interface{} = registration(name, id, i, in.port)
	if r.Intn(3) == 0 {
		in = input{kind: deregister, instance: i}
		path = "/v1/catalog/deregister"
		body = map[string]string{"Node": fmt.Sprintf("t%d", i), "ServiceID": id}
	}
	call := now()
	done, maybe, what := t.write(s, path, body)
	if maybe {
		t.history.add(k, operation{client, in, state{}, done, call, now(), s.name, what})
	}
	t.countWrite(done, maybe)
}

func (t *torture) countWrite(done, maybe bool) {
	switch {
	case done:
		t.count("writes", 1)
	case maybe:
		t.count("writes unknown", 1)
	default:
		t.count("writes refused", 1)
	}
}

// client reads and writes until stop is closed, on a server of its choice each time.
func (t *torture) client(number int, seed int64, round int, stop <-chan struct{}) {
	r := rand.New(rand.NewSource(seed))
	for !closed(stop) {
		s := t.doors[r.Intn(len(t.doors))]
		k := r.Intn(services)
		if r.Intn(2) == 0 {
			t.oneRead(r, number, k, s, serviceName(round, k))
		} else {
			t.oneWrite(r, number, k, s, serviceName(round, k))
		}
		pause(stop, time.Duration(r.Intn(2*t.pauseMs+1))*time.Millisecond)
	}
}

// bookkeeper registers what nobody deregisters, and remembers what was acknowledged.
func (t *torture) bookkeeper(number int, seed int64, round int, stop <-chan struct{}) {
	r := rand.New(rand.NewSource(seed))
	for n := 0; !closed(stop); n++ {
		s := t.doors[r.Intn(len(t.doors))]
		// An unknown write of an earlier round may still come, for that one's ID.
		id := fmt.Sprintf("r%d-l%d-%d", round, number, n)
		done, maybe, _ := t.write(s, "/v1/catalog/register",
			registration(ledgerName(round), id, 0, 1+n))
		if done {
			t.mu.Lock()
			t.ledger[id] = true
			t.mu.Unlock()
		}
		t.countWrite(done, maybe)
		pause(stop, time.Duration(r.Intn(4*t.pauseMs+1))*time.Millisecond)
	}
}

func closed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func pause(stop <-chan struct{}, d time.Duration) {
	select {
	case <-stop:
	case <-time.After(d):
	}
}
