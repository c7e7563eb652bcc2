// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

// Seed is the acceptance program of the registry: the ordinary Go client, unmodified, registers services with HTTP checks,
// finds them, watches them and takes them out again. It prints each step and exits 1 with a clear message if something
// that must happen does not happen in time (30 seconds; a long poll must wake within one).
//
//	CONSUL_HTTP_ADDR=127.0.0.1:8500 go run .
//
// It leaves nothing registered behind when it ends by itself.
package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/hashicorp/consul/api"
)

const (
	limit       = 30 * time.Second // for anything that must happen
	wakeLimit   = time.Second      // from a change to the answer of a long poll that waits for it
	serviceName = "my-service"
)

var began = time.Now()

func step(format string, args ...any) {
	fmt.Printf("%7.3f  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
}

// instance is one provider: an HTTP server whose /health answers 200 or 500, as told.
type instance struct {
	id     string
	port   int
	sick   atomic.Bool
	probes atomic.Int64
}

func startInstance(id string) (*instance, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	in := &instance{id: id, port: listener.Addr().(*net.TCPAddr).Port}
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(w http.ResponseWriter, _ *http.Request) {
		in.probes.Add(1)
		if in.sick.Load() {
			http.Error(w, "sick", http.StatusInternalServerError)
			return
		}
		io.WriteString(w, "healthy")
	})
	go http.Serve(listener, mux)
	return in, nil
}

func (in *instance) register(client *api.Client, interval string) error {
	return client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID:      in.id,
		Name:    serviceName,
		Address: "127.0.0.1",
		Port:    in.port,
		Check: &api.AgentServiceCheck{
			HTTP:     fmt.Sprintf("http://127.0.0.1:%d/health", in.port),
			Interval: interval,
		},
	})
}

// within repeats try until it returns true, or an error, or the limit has passed.
func within(what string, try func() (bool, error)) error {
	for deadline := time.Now().Add(limit); ; time.Sleep(20 * time.Millisecond) {
		done, err := try()
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
		if done {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: did not happen in %v", what, limit)
		}
	}
}

func ids(entries []*api.ServiceEntry) []string {
	list := []string{}
	for _, e := range entries {
		list = append(list, e.Service.ID)
	}
	slices.Sort(list)
	return list
}

// awaitPassing waits until exactly the given instances pass, by one long poll after the other.
func awaitPassing(client *api.Client, want ...string) (index uint64, err error) {
	err = within(fmt.Sprintf("passing instances %v", want), func() (bool, error) {
		entries, meta, err := client.Health().Service(serviceName, "", true,
			&api.QueryOptions{WaitIndex: index, WaitTime: 5 * time.Second})
		if err != nil {
			return false, err
		}
		if meta.LastIndex == 0 {
			return false, errors.New("X-Consul-Index is 0 or missing")
		}
		if meta.LastIndex < index {
			meta.LastIndex = 0 // the index went backwards: start again, as every client must
		}
		index = meta.LastIndex
		return slices.Equal(ids(entries), slices.Sorted(slices.Values(want))), nil
	})
	return index, err
}

func checkEntry(client *api.Client, in *instance) error {
	entries, _, err := client.Health().Service(serviceName, "", true, nil)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Service.ID != in.id {
			continue
		}
		if e.Service.Service != serviceName || e.Service.Address != "127.0.0.1" || e.Service.Port != in.port {
			return fmt.Errorf("health entry has service %q at %s:%d, want %q at 127.0.0.1:%d",
				e.Service.Service, e.Service.Address, e.Service.Port, serviceName, in.port)
		}
		if e.Node == nil || e.Node.Node == "" {
			return errors.New("health entry has no node")
		}
		for _, c := range e.Checks {
			if c.CheckID == "service:"+in.id {
				if c.Status != api.HealthPassing || c.ServiceID != in.id || c.ServiceName != serviceName {
					return fmt.Errorf("check %s is %q of service %q (%q)", c.CheckID, c.Status, c.ServiceID, c.ServiceName)
				}
				return nil
			}
		}
		return fmt.Errorf("health entry of %s has no check %q", in.id, "service:"+in.id)
	}
	return fmt.Errorf("no health entry for %s", in.id)
}

func run() (err error) {
	client, err := api.NewClient(api.DefaultConfig()) // takes CONSUL_HTTP_ADDR
	if err != nil {
		return err
	}
	self, err := client.Agent().Self()
	if err != nil {
		return fmt.Errorf("agent self: %w", err)
	}
	step("agent: node %v, datacenter %v, version %v", self["Config"]["NodeName"], self["Config"]["Datacenter"], self["Config"]["Version"])
	if err := within("a known leader", func() (bool, error) {
		leader, err := client.Status().Leader()
		return err == nil && leader != "", nil
	}); err != nil {
		return err
	}
	step("leader is known")

	first, err := startInstance("my-service-1")
	if err != nil {
		return err
	}
	second, err := startInstance("my-service-2")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil { // leave nothing behind
			client.Agent().ServiceDeregister(first.id)
			client.Agent().ServiceDeregister(second.id)
		}
	}()

	// An instance with a 10-second check, as the article registers it.
	if err := first.register(client, "10s"); err != nil {
		return fmt.Errorf("register %s: %w", first.id, err)
	}
	step("registered %s at 127.0.0.1:%d with an HTTP check every 10s", first.id, first.port)
	services, err := client.Agent().Services()
	if err != nil {
		return fmt.Errorf("agent services: %w", err)
	}
	own, ok := services[first.id]
	if !ok || own.Service != serviceName || own.Address != "127.0.0.1" || own.Port != first.port {
		return fmt.Errorf("agent services: %s is %+v", first.id, own)
	}
	step("agent lists %s", first.id)
	if _, err := awaitPassing(client, first.id); err != nil {
		return err
	}
	if err := checkEntry(client, first); err != nil {
		return err
	}
	if first.probes.Load() == 0 {
		return errors.New("the instance passes without a single probe of its /health")
	}
	step("%s passes after %d probe(s)", first.id, first.probes.Load())

	// The same instance registered again, with a quick check.
	if err := first.register(client, "1s"); err != nil {
		return fmt.Errorf("register %s again: %w", first.id, err)
	}
	index, err := awaitPassing(client, first.id)
	if err != nil {
		return err
	}
	step("registered %s again with a check every 1s; it passes", first.id)
	if err := within("catalog service", func() (bool, error) {
		catalog, _, err := client.Catalog().Service(serviceName, "", nil)
		if err != nil || len(catalog) == 0 {
			return false, err
		}
		c := catalog[0]
		if len(catalog) != 1 || c.ServiceID != first.id || c.ServiceAddress != "127.0.0.1" || c.ServicePort != first.port || c.Node == "" {
			return false, fmt.Errorf("%d entries, the first is %+v", len(catalog), c)
		}
		return true, nil
	}); err != nil {
		return err
	}
	names, _, err := client.Catalog().Services(nil)
	if err != nil {
		return fmt.Errorf("catalog services: %w", err)
	}
	if _, ok := names[serviceName]; !ok {
		return fmt.Errorf("catalog services: %q is missing in %v", serviceName, names)
	}
	step("catalog lists %s at 127.0.0.1:%d", serviceName, first.port)

	// A long poll on all instances (whatever their health) wakes when a second one is registered.
	_, meta, err := client.Health().Service(serviceName, "", false, nil)
	if err != nil {
		return err
	}
	type answer struct {
		ids  []string
		at   time.Time
		err  error
		last uint64
	}
	woken := make(chan answer, 1)
	go func() {
		for last := meta.LastIndex; ; {
			entries, m, err := client.Health().Service(serviceName, "", false, &api.QueryOptions{WaitIndex: last, WaitTime: time.Minute})
			if err != nil || len(entries) > 1 {
				a := answer{at: time.Now(), err: err}
				if err == nil {
					a.ids, a.last = ids(entries), m.LastIndex
				}
				woken <- a
				return
			}
			last = m.LastIndex
		}
	}()
	select {
	case a := <-woken:
		return fmt.Errorf("the long poll on index %d answered %v (%v) before anything changed", meta.LastIndex, a.ids, a.err)
	case <-time.After(500 * time.Millisecond):
	}
	changed := time.Now()
	if err := second.register(client, "1s"); err != nil {
		return fmt.Errorf("register %s: %w", second.id, err)
	}
	select {
	case a := <-woken:
		if a.err != nil {
			return fmt.Errorf("long poll: %w", a.err)
		}
		if lag := a.at.Sub(changed); lag > wakeLimit {
			return fmt.Errorf("the long poll woke %v after the second registration, limit %v", lag, wakeLimit)
		}
		if a.last <= meta.LastIndex {
			return fmt.Errorf("the index went from %d to %d", meta.LastIndex, a.last)
		}
		step("long poll woke %.1f ms after the second registration: %v, index %d -> %d",
			float64(a.at.Sub(changed).Microseconds())/1000, a.ids, meta.LastIndex, a.last)
	case <-time.After(limit):
		return fmt.Errorf("the long poll did not wake in %v", limit)
	}
	if _, err := awaitPassing(client, first.id, second.id); err != nil {
		return err
	}
	step("both instances pass")

	// A sick instance leaves, and comes back when it is well.
	first.sick.Store(true)
	turned := time.Now()
	if index, err = awaitPassing(client, second.id); err != nil {
		return err
	}
	checks, _, err := client.Health().Checks(serviceName, nil)
	if err != nil {
		return fmt.Errorf("health checks: %w", err)
	}
	critical := slices.ContainsFunc(checks, func(c *api.HealthCheck) bool {
		return c.ServiceID == first.id && c.Status == api.HealthCritical
	})
	if !critical {
		return fmt.Errorf("%s left the passing instances but has no critical check", first.id)
	}
	step("%s answers 500: critical and out of the passing instances after %.1f s (index %d)", first.id, time.Since(turned).Seconds(), index)
	first.sick.Store(false)
	turned = time.Now()
	if _, err = awaitPassing(client, first.id, second.id); err != nil {
		return err
	}
	step("%s answers 200 again: passing after %.1f s", first.id, time.Since(turned).Seconds())

	// Out.
	for _, in := range []*instance{first, second} {
		if err := client.Agent().ServiceDeregister(in.id); err != nil {
			return fmt.Errorf("deregister %s: %w", in.id, err)
		}
		step("deregistered %s", in.id)
	}
	if err := within("an empty catalog entry", func() (bool, error) {
		catalog, _, err := client.Catalog().Service(serviceName, "", nil)
		return err == nil && len(catalog) == 0, err
	}); err != nil {
		return err
	}
	if services, err = client.Agent().Services(); err != nil {
		return err
	}
	if services[first.id] != nil || services[second.id] != nil {
		return errors.New("the agent still lists an instance that was deregistered")
	}
	probes := first.probes.Load()
	time.Sleep(1500 * time.Millisecond)
	if first.probes.Load() != probes {
		return fmt.Errorf("%s is still probed after it was deregistered", first.id)
	}
	step("gone from agent and catalog, and no longer probed")
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "seed: FAILED after %.1f s: %v\n", time.Since(began).Seconds(), err)
		os.Exit(1)
	}
	step("all steps passed")
}
