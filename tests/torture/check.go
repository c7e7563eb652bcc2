// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/anishathalye/porcupine"
)

// What a service is: its instances' ports. Registering puts one, deregistering takes
// one away, reading shows all of them at one moment.
var model = porcupine.Model{
	Init: func() interface{} { return state{} },
	Step: func(s, in, out interface{}) (bool, interface{}) {
		now, do := s.(state), in.(input)
		switch do.kind {
		case register:
			now[do.instance] = do.port
		case deregister:
			now[do.instance] = 0
		case read:
			return out.(state) == now, now
		}
		return true, now
	},
	Equal: func(a, b interface{}) bool { return a.(state) == b.(state) },
	DescribeOperation: func(in, out interface{}) string {
		do := in.(input)
		switch do.kind {
		case register:
			return fmt.Sprintf("register %d: %d", do.instance, do.port)
		case deregister:
			return fmt.Sprintf("deregister %d", do.instance)
		}
		return fmt.Sprintf("read %v", out.(state))
	},
}

// linearizable checks each service's history. An operation without an outcome may
// have happened at any time after its call, or never: that is "at the very end".
func (t *torture) linearizable(round int) {
	for k := range t.history.ops {
		var ops []porcupine.Operation
		unknown := 0
		for i, o := range t.history.ops[k] {
			p := porcupine.Operation{ClientId: o.client, Input: o.in, Call: o.call,
				Output: o.out, Return: o.reply}
			if !o.known { // its client goes on: another one, for porcupine
				p.ClientId = 1000 + i
				p.Return = math.MaxInt64
				unknown++
			}
			ops = append(ops, p)
		}
		t.count("operations checked", len(ops))
		switch porcupine.CheckOperationsTimeout(model, ops, t.checkLimit) {
		case porcupine.Illegal:
			t.violation("the history of %s is not linearizable: %s",
				serviceName(round, k), t.keepHistory(round, k))
		case porcupine.Unknown:
			t.count("histories too hard to check", 1)
			t.say("  the history of %s (%d operations, %d unknown) took more than %v",
				serviceName(round, k), len(ops), unknown, t.checkLimit)
		case porcupine.Ok:
			t.count("histories linearizable", 1)
		}
	}
}

// keepHistory writes it down, in the order of the calls.
func (t *torture) keepHistory(round, k int) string {
	path := filepath.Join(t.folder, fmt.Sprintf("history-%s.txt", serviceName(round, k)))
	ops := append([]operation(nil), t.history.ops[k]...)
	sort.Slice(ops, func(i, j int) bool { return ops[i].call < ops[j].call })
	var b strings.Builder
	for _, o := range ops {
		reply := "unknown"
		if o.known {
			reply = fmt.Sprintf("%.3f", float64(o.reply)/1e9)
		}
		fmt.Fprintf(&b, "%.3f .. %s client %d at %s: %s (%s)\n", float64(o.call)/1e9,
			reply, o.client, o.where, model.DescribeOperation(o.in, o.out), o.what)
	}
	if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
		return err.Error()
	}
	t.keep = true
	return path
}

// truth is what a consistent read says, after which nobody writes any more.
func (t *torture) truth(service string) ([]entry, error) {
	path := "/v1/catalog/service/" + service + "?consistent"
	a, err := ask(t.servers[0], "GET", path, nil, requestLimit)
	if err != nil {
		return nil, err
	}
	if a.status != 200 {
		return nil, fmt.Errorf("%s: %d %s", path, a.status, a.body)
	}
	return parse(path, a.body)
}

// converged waits until everybody who watches has what there is.
func (t *torture) converged(round int, all []*follower) {
	began := time.Now()
	for k := 0; k < services; k++ {
		name := serviceName(round, k)
		entries, err := t.truth(name)
		want, bad := stateOf(entries)
		if err != nil || bad != nil {
			t.violation("after the faults: %v %v", err, bad)
			continue
		}
		t.history.add(k, operation{0, input{kind: read}, want, true, now(), now(), "", "at last"})
		for _, f := range all {
			if f.name != name {
				continue
			}
			for f.get() != want && time.Since(began) < t.bound {
				time.Sleep(5 * time.Millisecond)
			}
			if got := f.get(); got != want {
				t.violation("%s has %v of %s, not %v, %v after the faults", f.how, got,
					name, want, t.bound)
			}
		}
	}
	t.noteConvergence(time.Since(began))
}

// nothingLost: all that was acknowledged is there, on every server, by memory too.
func (t *torture) nothingLost(round int) {
	for _, s := range t.doors {
		for _, how := range []string{"", "?stale"} {
			path := "/v1/catalog/service/" + ledgerName(round) + how
			a, err := ask(s, "GET", path, nil, requestLimit)
			if err != nil || a.status != 200 {
				t.violation("after the faults %s %s: %d %v", s.name, path, a.status, err)
				continue
			}
			all, err := parse(path, a.body)
			if err != nil {
				t.violation("%s: %v", path, err)
			}
			have := map[string]bool{}
			for _, e := range all {
				have[e.ServiceID] = true
			}
			t.mu.Lock()
			for id := range t.ledger {
				if !have[id] {
					t.violationLocked("%s has lost %s, which was acknowledged", s.name, id)
				}
			}
			t.mu.Unlock()
		}
	}
	t.mu.Lock()
	t.counts["acknowledged for ever"] += len(t.ledger)
	t.ledger = map[string]bool{}
	t.mu.Unlock()
}
