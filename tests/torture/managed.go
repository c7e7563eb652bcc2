// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// managed: three servers that keep their own store (an etcd as a child of each) and
// agents of applications, each on a host of its own, encrypted, at the ports that are
// the default. Nobody can connect to the last agent's listener for peers, as behind a
// firewall: observers are refused there.

const (
	managedAgents = 4
	lanPort       = 8301
)

func managed(folder, muster, wireBinary string, seed int64) (*cluster, error) {
	w, err := startWire(wireBinary, size+managedAgents, seed)
	if err != nil {
		return nil, err
	}
	key := make([]byte, 32)
	if _, err := rand.Read(key); err != nil {
		return nil, err
	}
	c := &cluster{folder: folder, net: newNetwork(), wire: w}
	common := []string{"-encrypt", base64.StdEncoding.EncodeToString(key),
		"-dns-port", "-1", "-serf-wan-port", "-1", "-log-level", "debug"}
	for i := 1; i <= size; i++ {
		common = append(common, "-retry-join", w.address(i))
	}
	for i := 1; i <= size+managedAgents; i++ {
		s := &server{host: i, via: w.dialer(i), base: "http://127.0.0.1:8500",
			agent: i > size}
		name := fmt.Sprintf("muster%d", i-1)
		if s.agent {
			name = fmt.Sprintf("agent%d", i-1-size)
		}
		s.data = filepath.Join(folder, name)
		s.process = &process{name: name, log: s.data + ".log", argv: append([]string{
			wireBinary, "run", w.spaces[i-1], muster, "agent", "-node", name,
			"-bind", w.address(i), "-data-dir", s.data}, common...)}
		c.doors = append(c.doors, s)
		if s.agent {
			c.small = append(c.small, disk{s.data, agentDisk})
			s.argv = append(s.argv, "-retry-interval", "1s")
			c.agents = append(c.agents, s)
			if err := s.ownClock(); err != nil {
				return nil, err
			}
		} else {
			c.small = append(c.small, disk{s.data, storeDisk})
			s.argv = append(s.argv, "-server", "-bootstrap-expect", fmt.Sprint(size))
			c.servers = append(c.servers, s)
		}
	}
	return c, nil
}

// refused: the agent behind a firewall.
func (c *cluster) refused() *server { return c.agents[len(c.agents)-1] }

// lay does to the wire what is always so.
func (c *cluster) lay() error {
	return c.wire.say("link * %d refuse=%d", c.refused().host, lanPort)
}

// startManaged: agents that find no server would wait for a while.
func (c *cluster) startManaged() error {
	if err := c.lay(); err != nil {
		return err
	}
	for _, s := range c.servers {
		if err := s.start(); err != nil {
			return err
		}
	}
	return c.readyAll(c.servers, time.Minute)
}

// signalStore reaches the server's child; false: there is none.
func (s *server) signalStore(what syscall.Signal) bool {
	pid := 0
	if p := s.pid(); p != 0 {
		pid = childOf(p)
	}
	return pid != 0 && syscall.Kill(pid, what) == nil
}

type peer struct {
	Node, ID, Address string
	Leader, Voter     bool
}

func (c *cluster) peers(s *server) ([]peer, error) {
	a, err := ask(s, "GET", "/v1/operator/raft/configuration", nil, requestLimit)
	if err != nil {
		return nil, err
	}
	var told struct{ Servers []peer }
	if a.status != 200 {
		return nil, fmt.Errorf("raft/configuration: %d %s", a.status, a.body)
	}
	return told.Servers, json.Unmarshal(a.body, &told)
}

// leads: the server whose store leads; nil: nobody knows.
func (c *cluster) leads() *server {
	for _, s := range c.servers {
		a, err := ask(s, "GET", "/v1/status/leader", nil, time.Second)
		if err != nil || a.status != 200 {
			continue
		}
		for _, l := range c.servers {
			if strings.HasPrefix(string(a.body), `"`+c.wire.address(l.host)+`:`) {
				return l
			}
		}
	}
	return nil
}

// wipe forgets all that a server that does not run had. Its folder may be a disk.
func (c *cluster) wipe(s *server) error {
	all, err := os.ReadDir(s.data)
	if err != nil {
		return err
	}
	for _, e := range all {
		if err := os.RemoveAll(filepath.Join(s.data, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

// whole waits until all servers vote.
func (c *cluster) whole(limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for {
		voters := 0
		all, err := c.peers(c.servers[0])
		for _, p := range all {
			if p.Voter {
				voters++
			}
		}
		if err == nil && voters == len(c.servers) && len(all) == voters {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d of %d servers vote after %v: %v %v", voters,
				len(c.servers), limit, all, err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
