// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// cluster is what is tortured: members of the store, servers of muster, agents, and
// the network between them. Two layouts fill it: external (here) and managed.
type cluster struct {
	folder  string
	net     *network
	members []*member // of the store, where they are processes of their own
	servers []*server
	agents  []*server // on hosts of applications
	doors   []*server // whom clients ask: all of both
	small   []disk    // folders that are to be disks of their own
	wire    *wire     // between hosts; nil: all are on loopback
}

type member struct {
	*process
	url  string // its clients', without a proxy: for the driver
	data string
}

type server struct {
	*process
	base  string // http://127.0.0.1:PORT
	data  string
	clock string // the file libfaketime reads; "": no such library
	via   *http.Transport
	host  int // of the wire, from 1
	agent bool

	provides string // address of what its steady instance is
}

const size = 3

func (c *cluster) all() []*process {
	var all []*process
	for _, m := range c.members {
		all = append(all, m.process)
	}
	for _, s := range c.doors {
		all = append(all, s.process)
	}
	return all
}

func (c *cluster) memberName(port int) string {
	var all []*process
	for _, m := range c.members {
		all = append(all, m.process)
	}
	if i := ownerOf(port, all); i >= 0 {
		return c.members[i].name
	}
	return "?"
}

func faketime() string {
	found, _ := filepath.Glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
	if len(found) == 0 {
		return ""
	}
	return found[0]
}

// external: three members of etcd and three servers of muster beside them.
func external(folder, muster string) (*cluster, error) {
	c := &cluster{folder: folder, net: newNetwork()}
	etcd, err := exec.LookPath("etcd")
	if err != nil {
		return nil, err
	}
	var peers, told, initial []string
	for i := 0; i < size; i++ {
		name := fmt.Sprintf("etcd%d", i)
		peer := fmt.Sprintf("127.0.0.1:%d", freePort())
		port, err := c.net.proxy(name, peer, c.memberName)
		if err != nil {
			return nil, err
		}
		peers = append(peers, "http://"+peer)
		told = append(told, fmt.Sprintf("http://127.0.0.1:%d", port))
		initial = append(initial, name+"="+told[i])
		c.members = append(c.members, &member{
			process: &process{name: name, log: filepath.Join(folder, name+".log")},
			url:     fmt.Sprintf("http://127.0.0.1:%d", freePort()),
			data:    filepath.Join(folder, name),
		})
	}
	for i, m := range c.members {
		m.argv = []string{etcd, "--name", m.name, "--data-dir", m.data,
			"--listen-client-urls", m.url, "--advertise-client-urls", m.url,
			"--listen-peer-urls", peers[i],
			"--initial-advertise-peer-urls", told[i],
			"--initial-cluster", strings.Join(initial, ","),
			"--heartbeat-interval", "50", "--election-timeout", "500",
			"--max-txn-ops", "1024"}
	}
	for i := 0; i < size; i++ {
		if err := c.addServer(i, muster); err != nil {
			return nil, err
		}
	}
	c.small = []disk{{c.members[2].data, storeDisk}, {c.servers[2].data, agentDisk}}
	return c, nil
}

func (c *cluster) addServer(i int, muster string) error {
	name := fmt.Sprintf("muster%d", i)
	var store []string
	for _, m := range c.members {
		port, err := c.net.proxy(m.name, strings.TrimPrefix(m.url, "http://"),
			func(int) string { return name })
		if err != nil {
			return err
		}
		store = append(store, fmt.Sprintf("127.0.0.1:%d", port))
	}
	s := &server{
		process: &process{name: name, log: filepath.Join(c.folder, name+".log")},
		base:    fmt.Sprintf("http://127.0.0.1:%d", freePort()),
		data:    filepath.Join(c.folder, name),
		via:     transport,
	}
	port := func() string { return fmt.Sprint(freePort()) }
	s.argv = []string{muster, "agent", "-server", "-node", name,
		"-bind", "127.0.0.1", "-data-dir", s.data,
		"-http-port", s.base[strings.LastIndex(s.base, ":")+1:],
		"-dns-port", "-1", "-serf-lan-port", port(), "-serf-wan-port", port(),
		"-server-port", port(), "-log-level", "debug",
		"-store", "etcd://" + strings.Join(store, ",")}
	c.servers = append(c.servers, s)
	c.doors = append(c.doors, s)
	return s.ownClock()
}

// ownClock: a file says by how much its clock is off, where libfaketime is there.
func (s *server) ownClock() error {
	lib := faketime()
	if lib == "" {
		return nil
	}
	s.clock = s.data + ".clock"
	s.env = []string{"LD_PRELOAD=" + lib, "FAKETIME_NO_CACHE=1",
		"FAKETIME_DONT_FAKE_MONOTONIC=1", "FAKETIME_TIMESTAMP_FILE=" + s.clock}
	return os.WriteFile(s.clock, []byte("+0\n"), 0o644)
}

func (c *cluster) start() error {
	if c.wire != nil {
		if err := c.startManaged(); err != nil {
			return err
		}
	}
	for _, p := range c.all() {
		if err := p.start(); err != nil {
			return err
		}
	}
	return c.ready(time.Minute)
}

// ready waits until every process runs and every server answers a consistent read.
func (c *cluster) ready(limit time.Duration) error { return c.readyAll(c.doors, limit) }

func (c *cluster) readyAll(all []*server, limit time.Duration) error {
	deadline := time.Now().Add(limit)
	for _, s := range all {
		for {
			a, err := ask(s, "GET", "/v1/catalog/nodes?consistent", nil, 10*time.Second)
			if err == nil && a.status == 200 {
				break
			}
			if err := s.start(); err != nil { // it began while its disk was full
				return err
			}
			if time.Now().After(deadline) {
				return fmt.Errorf("%s is not ready after %v: %v %v", s.name,
					limit, a.status, err)
			}
			time.Sleep(50 * time.Millisecond)
		}
	}
	return nil
}

// revive starts what does not run and wakes what is stopped.
func (c *cluster) revive() error {
	c.net.heal()
	if c.wire != nil {
		if err := c.wire.heal(); err != nil {
			return err
		}
		if err := c.lay(); err != nil {
			return err
		}
	}
	for _, s := range c.servers {
		s.signalStore(syscall.SIGCONT)
	}
	for _, p := range c.all() {
		p.signal(syscall.SIGCONT)
		if err := p.start(); err != nil {
			return err
		}
	}
	return nil
}

func (c *cluster) close() {
	c.net.close()
	for _, p := range c.all() {
		p.kill()
	}
	if c.wire != nil {
		c.wire.close()
	}
}

// leader: the member that leads, as it says itself; nil: nobody says so.
func (c *cluster) leader() *member {
	for _, m := range c.members {
		var s struct {
			Header struct {
				Member string `json:"member_id"`
			}
			Leader string
		}
		if m.post("maintenance/status", "{}", &s) == nil && s.Leader != "" &&
			s.Leader == s.Header.Member {
			return m
		}
	}
	return nil
}

var direct = &http.Client{Timeout: 30 * time.Second}

// post asks a member's gateway, past the proxies.
func (m *member) post(path, body string, ret interface{}) error {
	client := *direct
	if path == "maintenance/status" {
		client.Timeout = time.Second
	}
	r, err := client.Post(m.url+"/v3/"+path, "application/json",
		strings.NewReader(body))
	if err != nil {
		return err
	}
	defer r.Body.Close()
	text, err := io.ReadAll(r.Body)
	if err == nil && r.StatusCode != 200 {
		err = fmt.Errorf("%s: %s", path, text)
	}
	if err == nil && ret != nil {
		err = json.NewDecoder(bytes.NewReader(text)).Decode(ret)
	}
	return err
}
