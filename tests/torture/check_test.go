// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"testing"
	"time"
)

// What the judge says of histories whose verdict is known.
func TestTheJudgeKnowsRightFromWrong(t *testing.T) {
	put := func(client, port int, call, reply int64, known bool) operation {
		return operation{client: client, in: input{register, 0, port}, known: known,
			call: call, reply: reply}
	}
	del := func(client int, call, reply int64) operation {
		return operation{client: client, in: input{kind: deregister}, known: true,
			call: call, reply: reply}
	}
	see := func(client, port int, call, reply int64) operation {
		return operation{client: client, in: input{kind: read}, out: state{port},
			known: true, call: call, reply: reply}
	}
	for _, c := range []struct {
		name  string
		ops   []operation
		wrong int
	}{
		{"a read after a write", []operation{put(1, 7, 0, 1, true), see(2, 7, 2, 3)}, 0},
		{"a stale read", []operation{put(1, 7, 0, 1, true), put(1, 8, 2, 3, true),
			see(2, 7, 4, 5)}, 1},
		{"a lost write", []operation{put(1, 7, 0, 1, true), see(2, 0, 2, 3)}, 1},
		{"a write that came back", []operation{put(1, 7, 0, 1, true), del(1, 2, 3),
			see(2, 7, 4, 5)}, 1},
		{"a read beside a write", []operation{put(1, 7, 0, 5, true), see(2, 0, 1, 2),
			see(2, 7, 3, 4)}, 0},
		{"a read that goes back", []operation{put(1, 7, 0, 9, true), see(2, 7, 1, 2),
			see(2, 0, 3, 4)}, 1},
		{"an unknown write, seen late", []operation{put(1, 7, 0, 1, false),
			see(2, 0, 2, 3), see(2, 7, 4, 5)}, 0},
		{"an unknown write, never seen", []operation{put(1, 7, 0, 1, false),
			see(2, 0, 2, 3)}, 0},
		{"an unknown write that was undone by nobody", []operation{
			put(1, 7, 0, 1, false), see(2, 7, 2, 3), see(2, 0, 4, 5)}, 1},
	} {
		judge := &torture{history: &history{}, counts: map[string]int{},
			checkLimit: time.Minute,
			cluster:    &cluster{folder: t.TempDir()}}
		for _, o := range c.ops {
			judge.history.add(0, o)
		}
		judge.linearizable(0)
		if len(judge.violations) != c.wrong {
			t.Errorf("%s: %d wrong, not %d", c.name, len(judge.violations), c.wrong)
		}
	}
}

// A seed draws the same faults, or a failure could not be tried again.
func TestASeedDrawsTheSame(t *testing.T) {
	list := func() string {
		all := ""
		for seed := int64(1); seed < 20; seed++ {
			c, err := external(t.TempDir(), "muster")
			if err != nil {
				t.Skip(err)
			}
			x := &torture{cluster: c, lasting: time.Second}
			var able []fault
			for _, f := range faults {
				if f.name != "full-disk" {
					able = append(able, f)
				}
			}
			for round := 0; round < 5; round++ {
				for _, d := range x.draw(newRand(seed), able, round) {
					all += d.what + d.at.String() + d.lasts.String() + "\n"
				}
			}
		}
		return all
	}
	if a, b := list(), list(); a != b {
		t.Errorf("%s\n---\n%s", a, b)
	}
}
