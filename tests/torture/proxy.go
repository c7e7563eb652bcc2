// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"sync"
	"time"
)

// The network between processes: every link goes through a proxy on loopback, which
// needs no root. What is cut is held, not refused, as packets that are lost are:
// the sender's writes fill up, nobody is told, and when the cut ends the old bytes
// arrive, late.

type way struct{ from, to string } // "etcd0" -> "etcd1"

type network struct {
	mu     sync.Mutex
	change *sync.Cond
	cut    map[way]int           // by how many faults
	delay  map[way]time.Duration // each piece waits so long
	conns  map[*link]bool
	closed bool
}

type link struct {
	a, b net.Conn // a dialled, b is who listens
	way  way      // of what a says
}

func newNetwork() *network {
	n := &network{cut: map[way]int{}, delay: map[way]time.Duration{},
		conns: map[*link]bool{}}
	n.change = sync.NewCond(&n.mu)
	return n
}

// hold cuts (by 1) or heals (by -1) one direction.
func (n *network) hold(w way, by int) {
	n.mu.Lock()
	n.cut[w] += by
	n.mu.Unlock()
	n.change.Broadcast()
}

func (n *network) slow(w way, d time.Duration) {
	n.mu.Lock()
	n.delay[w] = d
	n.mu.Unlock()
}

// reset closes what is open between the two, whoever dialled.
func (n *network) reset(x, y string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for l := range n.conns {
		if l.way == (way{x, y}) || l.way == (way{y, x}) {
			l.a.Close()
			l.b.Close()
		}
	}
}

func (n *network) heal() {
	n.mu.Lock()
	n.cut, n.delay = map[way]int{}, map[way]time.Duration{}
	n.mu.Unlock()
	n.change.Broadcast()
}

func (n *network) wait(w way) time.Duration {
	n.mu.Lock()
	defer n.mu.Unlock()
	for n.cut[w] > 0 && !n.closed {
		n.change.Wait()
	}
	return n.delay[w]
}

func (n *network) close() {
	n.mu.Lock()
	n.closed = true
	for l := range n.conns {
		l.a.Close()
		l.b.Close()
	}
	n.mu.Unlock()
	n.change.Broadcast()
}

func (n *network) pump(from, to net.Conn, w way) {
	buf := make([]byte, 64*1024)
	for {
		k, err := from.Read(buf)
		if d := n.wait(w); d > 0 {
			time.Sleep(d)
			n.wait(w)
		}
		if k > 0 {
			if _, err := to.Write(buf[:k]); err != nil {
				break
			}
		}
		if err != nil {
			break
		}
	}
	from.Close()
	to.Close()
}

func (n *network) carry(a net.Conn, w way, target string) {
	back := way{w.to, w.from}
	n.wait(w)
	b, err := net.DialTimeout("tcp", target, 2*time.Second)
	if err != nil {
		a.Close()
		return
	}
	l := &link{a, b, w}
	n.mu.Lock()
	n.conns[l] = true
	n.mu.Unlock()
	done := make(chan struct{})
	go func() {
		n.pump(b, a, back)
		close(done)
	}()
	n.pump(a, b, w)
	<-done
	n.mu.Lock()
	delete(n.conns, l)
	n.mu.Unlock()
}

// proxy listens for connections to `to` at target and returns its own port. from
// tells who dials, by the port that he dials from.
func (n *network) proxy(to, target string, from func(port int) string) (int, error) {
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", freePort()))
	if err != nil {
		return 0, err
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				who := from(c.RemoteAddr().(*net.TCPAddr).Port)
				n.carry(c, way{who, to}, target)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port, nil
}
