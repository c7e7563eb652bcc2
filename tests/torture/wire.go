// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

// wire is a network of hosts that are namespaces (tests/net/wire.c): packets get lost,
// late or cut below TCP, and a host can be gone. The driver itself sits on no host; its
// sockets are made inside of the one whose loopback it asks, past all wires.
type wire struct {
	binary string
	cmd    *exec.Cmd
	spaces []string

	mu  sync.Mutex
	in  io.WriteCloser
	out *bufio.Reader
	cut map[[2]int]int // by how many faults
}

func (w *wire) address(host int) string { return fmt.Sprintf("10.77.0.%d", host) }

// needsWire tells why there can be none here.
func needsWire(binary string) string {
	if os.Geteuid() != 0 {
		return "network namespaces need root"
	}
	if f, err := os.OpenFile("/dev/net/tun", os.O_RDWR, 0); err != nil {
		return err.Error()
	} else {
		f.Close()
	}
	if _, err := os.Stat(binary); err != nil {
		return err.Error() + " (make binaries)"
	}
	return ""
}

func startWire(binary string, hosts int, seed int64) (*wire, error) {
	w := &wire{binary: binary, cut: map[[2]int]int{},
		cmd: exec.Command(binary, fmt.Sprint(hosts), fmt.Sprint(uint64(seed)))}
	out, err := w.cmd.StdoutPipe()
	if err == nil {
		w.in, err = w.cmd.StdinPipe()
	}
	w.cmd.Stderr = os.Stderr
	w.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err == nil {
		err = w.cmd.Start()
	}
	if err != nil {
		return nil, err
	}
	w.out = bufio.NewReader(out)
	for {
		line, err := w.out.ReadString('\n')
		if err != nil {
			return nil, fmt.Errorf("the wire ended: %w", err)
		}
		words := strings.Fields(line)
		if words[0] == "ready" {
			return w, nil
		}
		w.spaces = append(w.spaces, words[3])
	}
}

// say gives the wire one order.
func (w *wire) say(format string, a ...interface{}) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.sayLocked(format, a...)
}

func (w *wire) sayLocked(format string, a ...interface{}) error {
	if _, err := fmt.Fprintf(w.in, format+"\n", a...); err != nil {
		return err
	}
	answer, err := w.out.ReadString('\n')
	if err == nil && !strings.HasPrefix(answer, "ok") {
		err = fmt.Errorf("the wire: %s", strings.TrimSpace(answer))
	}
	return err
}

// hold cuts (by 1) or heals (by -1) what one host says to another.
func (w *wire) hold(from, to, by int) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	way := [2]int{from, to}
	w.cut[way] += by
	cut := 0
	if w.cut[way] > 0 {
		cut = 1
	}
	return w.sayLocked("link %d %d cut=%d", from, to, cut)
}

func (w *wire) heal() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = map[[2]int]int{}
	return w.sayLocked("heal")
}

func (w *wire) close() {
	w.in.Close()
	w.cmd.Process.Kill()
	w.cmd.Wait()
}

// inside runs f in a host: sockets that it makes are of there.
func (w *wire) inside(host int, f func() error) error {
	number := map[string]uintptr{"amd64": 308, "arm64": 268}[runtime.GOARCH]
	enter := func(file *os.File) error {
		_, _, e := syscall.RawSyscall(number, file.Fd(), syscall.CLONE_NEWNET, 0)
		if e != 0 {
			return fmt.Errorf("setns: %w", e)
		}
		return nil
	}
	runtime.LockOSThread()
	home, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", syscall.Gettid()))
	if err != nil {
		return err
	}
	defer home.Close()
	there, err := os.Open(w.spaces[host-1])
	if err != nil {
		return err
	}
	defer there.Close()
	if err := enter(there); err != nil {
		return err
	}
	err = f()
	if e := enter(home); e != nil {
		return e // and the thread, still locked, goes with the goroutine
	}
	runtime.UnlockOSThread()
	return err
}

// dialer is a transport to a host's loopback.
func (w *wire) dialer(host int) *http.Transport {
	via := transport.Clone()
	via.DialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
		var c net.Conn
		err := w.inside(host, func() (err error) {
			c, err = (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, network, to)
			return err
		})
		return c, err
	}
	return via
}

func (w *wire) listen(host, port int) (net.Listener, error) {
	var l net.Listener
	err := w.inside(host, func() (err error) {
		l, err = net.Listen("tcp", fmt.Sprintf("%s:%d", w.address(host), port))
		return err
	})
	return l, err
}

// childOf finds the store's process of a server; 0: it has none now.
func childOf(parent int) int {
	all, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, path := range all {
		text, err := os.ReadFile(path)
		if err != nil {
			continue
		}
		var pid, of int
		var name, state string
		n, _ := fmt.Sscanf(string(text), "%d %s %s %d", &pid, &name, &state, &of)
		if n == 4 && of == parent && name == "(etcd)" {
			return pid
		}
	}
	return 0
}
