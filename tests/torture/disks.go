// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// Disks that are full, and disks that are slow.

type disk struct{ folder, size string }

const (
	storeDisk = "208m" // etcd's log alone takes 64 MB at once, two of them at times
	agentDisk = "32m"
	fill      = "fill" // the file that fills one
)

func (t *torture) mount(d disk) error {
	if err := os.MkdirAll(d.folder, 0o755); err != nil {
		return err
	}
	err := syscall.Mount("tmpfs", d.folder, "tmpfs", 0, "size="+d.size)
	if err == nil {
		t.mounts = append(t.mounts, d.folder)
	}
	return err
}

func needsMounts(t *torture) string {
	if len(t.mounts) == 0 {
		return "small disks need root (mount)"
	}
	return ""
}

// filled keeps a disk full, also where files on it are removed, until stop is closed;
// then its file is gone.
func filled(f *os.File, stop <-chan struct{}) {
	for !closed(stop) {
		for n := 1 << 20; n >= 1; n /= 16 {
			for {
				if _, err := f.Write(make([]byte, n)); err != nil {
					break
				}
			}
		}
		pause(stop, 20*time.Millisecond)
	}
	os.Remove(f.Name())
	f.Close()
}

func (t *torture) fullDisks(folders []string) evil {
	var names []string
	for _, f := range folders {
		names = append(names, filepath.Base(f))
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	return evil{what: "disk full under " + strings.Join(names, " "), begin: func() error {
		for _, folder := range folders {
			f, err := os.Create(filepath.Join(folder, fill))
			if err != nil {
				return err
			}
			wg.Add(1)
			go func() { defer wg.Done(); filled(f, stop) }()
		}
		return nil
	}, end: func() error {
		close(stop)
		wg.Wait()
		return nil
	}}
}

func fullDisk(t *torture, r *rand.Rand) evil {
	return t.fullDisks([]string{t.mounts[r.Intn(len(t.mounts))]})
}

// fullServers: the disk of one server, at times of a majority or of all, with what its
// store and what its agent keep.
func fullServers(t *torture, r *rand.Rand) evil {
	var folders []string
	n := []int{1, 1, 2, size}[r.Intn(4)]
	for _, i := range r.Perm(size)[:n] {
		folders = append(folders, t.servers[i].data)
	}
	return t.fullDisks(folders)
}

func fullAgent(t *torture, r *rand.Rand) evil {
	return t.fullDisks([]string{t.agents[r.Intn(managedAgents)].data})
}

func needsStrace(*torture) string {
	if _, err := exec.LookPath("strace"); err != nil {
		return "a slow disk needs strace"
	}
	return ""
}

// slowSyncs: strace makes each sync of these processes, as they are when it begins,
// take longer.
func (t *torture) slowSyncs(what string, ms int, pids func() []int) evil {
	tracer := &process{name: "strace", log: filepath.Join(t.folder, "strace.log")}
	return evil{what: fmt.Sprintf("each sync of %s takes %d ms more", what, ms), begin: func() error {
		tracer.argv = []string{"strace", "-f", "-qq", "-o", "/dev/null",
			"-e", "trace=fdatasync,fsync", "-e",
			fmt.Sprintf("inject=fdatasync,fsync:delay_exit=%d", ms*1000)}
		some := false
		for _, pid := range pids() {
			if pid != 0 {
				tracer.argv = append(tracer.argv, "-p", fmt.Sprint(pid))
				some = true
			}
		}
		if !some {
			return nil
		}
		return tracer.start()
	}, end: func() error { tracer.end(syscall.SIGINT, 5*time.Second); return nil }}
}

func slowDisk(t *torture, r *rand.Rand) evil {
	m := t.anyMember(r)
	return t.slowSyncs(m.name, 20+r.Intn(180), func() []int { return []int{m.pid()} })
}

// slowServers: one server and its store, at times all.
func slowServers(t *torture, r *rand.Rand) evil {
	some := t.servers
	if r.Intn(3) > 0 {
		some = []*server{t.anyServer(r)}
	}
	return t.slowSyncs(names(some), 20+r.Intn(600), func() []int {
		var all []int
		for _, s := range some {
			if pid := s.pid(); pid != 0 {
				all = append(all, pid, childOf(pid))
			}
		}
		return all
	})
}
