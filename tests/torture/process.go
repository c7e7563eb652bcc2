// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// process is a program that is started, killed and stopped, over and over. Its
// methods may be called from anywhere.
type process struct {
	name string
	argv []string
	env  []string
	log  string

	mu      sync.Mutex
	cmd     *exec.Cmd
	ended   chan struct{}
	starts  int
	stopped bool
	meant   bool // to end: it was sent a signal for that

	ends func(p *process, how *os.ProcessState) // by itself; nil: nobody minds
}

func (p *process) start() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd != nil {
		return nil
	}
	log, err := os.OpenFile(p.log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o644)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := exec.Command(p.argv[0], p.argv[1:]...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), p.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	ended := make(chan struct{})
	go func() {
		cmd.Wait()
		for _, left := range []string{"faketime_shm_%d", "sem.faketime_sem_%d"} {
			os.Remove("/dev/shm/" + fmt.Sprintf(left, cmd.Process.Pid)) // of libfaketime
		}
		p.mu.Lock()
		meant := p.meant
		if p.cmd == cmd {
			p.cmd = nil
			p.stopped = false
		}
		p.mu.Unlock()
		close(ended)
		if !meant && p.ends != nil {
			p.ends(p, cmd.ProcessState)
		}
	}()
	p.cmd, p.ended, p.meant = cmd, ended, false
	p.starts++
	return nil
}

// signal reports false if the process does not run.
func (p *process) signal(s syscall.Signal) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return false
	}
	p.stopped = s == syscall.SIGSTOP || (p.stopped && s != syscall.SIGCONT)
	p.meant = p.meant || (s != syscall.SIGSTOP && s != syscall.SIGCONT)
	return p.cmd.Process.Signal(s) == nil
}

func (p *process) pid() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cmd == nil {
		return 0
	}
	return p.cmd.Process.Pid
}

func (p *process) running() bool { return p.pid() != 0 }

// end sends s and waits for the end; a stopped process is woken, and one that does
// not end within the limit is killed.
func (p *process) end(s syscall.Signal, limit time.Duration) {
	p.mu.Lock()
	ended := p.ended
	p.mu.Unlock()
	if !p.signal(s) {
		return
	}
	p.signal(syscall.SIGCONT)
	select {
	case <-ended:
	case <-time.After(limit):
		p.signal(syscall.SIGKILL)
		<-ended
	}
}

func (p *process) kill() { p.end(syscall.SIGKILL, time.Minute) }

var given = map[int]bool{}

// freePort: nobody listens there now, and it was not given before.
func freePort() int {
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			fatal("no free port: %v", err)
		}
		port := l.Addr().(*net.TCPAddr).Port
		l.Close()
		if !given[port] {
			given[port] = true
			return port
		}
	}
}

// ownerOf tells which of the processes has the socket that is bound to the port on
// loopback; -1: none of them. Linux only, as muster is.
func ownerOf(port int, all []*process) int {
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return -1
	}
	want := fmt.Sprintf("0100007F:%04X", port)
	inode := ""
	for _, line := range strings.Split(string(text), "\n") {
		f := strings.Fields(line)
		if len(f) > 9 && f[1] == want && f[9] != "0" {
			inode = "socket:[" + f[9] + "]"
			break
		}
	}
	if inode == "" {
		return -1
	}
	for i, p := range all {
		pid := p.pid()
		if pid == 0 {
			continue
		}
		folder := filepath.Join("/proc", strconv.Itoa(pid), "fd")
		names, err := os.ReadDir(folder)
		if err != nil {
			continue
		}
		for _, n := range names {
			to, err := os.Readlink(filepath.Join(folder, n.Name()))
			if err == nil && to == inode {
				return i
			}
		}
	}
	return -1
}
