// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

// Watch drives a registry with the Go client's package watch (what `consul watch` and many sidecars are made of), and shows the
// client the ways in which a request can fail.
//
//	CONSUL_HTTP_ADDR=127.0.0.1:8500 go run ./watch
//
// It exits 1 if a change is not seen within 30 seconds, or a watch is woken by what is not its business.
package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/hashicorp/consul/api/watch"
)

const (
	limit   = 30 * time.Second
	service = "watched"
)

var address = os.Getenv("CONSUL_HTTP_ADDR")

type answer struct {
	index uint64
	data  any
}

// watcher runs one watch plan and keeps what it was told.
type watcher struct {
	what    string
	plan    *watch.Plan
	answers chan answer
}

func start(what string, params map[string]any) (*watcher, error) {
	plan, err := watch.Parse(params)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", what, err)
	}
	w := &watcher{what, plan, make(chan answer, 100)}
	if params["type"] == "agent_service" {
		plan.HybridHandler = func(value watch.BlockingParamVal, data any) { w.answers <- answer{data: data} }
	} else {
		plan.Handler = func(index uint64, data any) { w.answers <- answer{index, data} }
	}
	plan.LogOutput = io.Discard
	go plan.Run(address)
	return w, nil
}

// until takes answers until one fits.
func (w *watcher) until(state string, fits func(data any) bool) error {
	timeout := time.After(limit)
	for n := 1; ; n++ {
		select {
		case a := <-w.answers:
			if fits(a.data) {
				fmt.Printf("ok: %s: %s\n", w.what, state)
				return nil
			}
		case <-timeout:
			return fmt.Errorf("%s: %s: not seen in %v (%d answers)", w.what, state, limit, n-1)
		}
	}
}

// silent says whether nobody woke the watch since its last answer was taken.
func (w *watcher) silent() error {
	select {
	case a := <-w.answers:
		return fmt.Errorf("%s: woken without need: index %d, %v", w.what, a.index, a.data)
	default:
		return nil
	}
}

func instances(n int) func(any) bool {
	return func(data any) bool { return len(data.([]*api.ServiceEntry)) == n }
}

func statusOf(want string) func(any) bool {
	return func(data any) bool {
		checks := data.([]*api.HealthCheck)
		return len(checks) == 1 && checks[0].Status == want
	}
}

func register(client *api.Client, id string, tags ...string) error {
	return client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		ID: id, Name: service, Port: 99, Tags: tags, Meta: map[string]string{"colour": "red"},
		Check: &api.AgentServiceCheck{CheckID: "beat:" + id, TTL: "60s", Status: api.HealthPassing},
	})
}

// watches starts one watch of each kind, changes things, and sees that each is told of what is its own.
func watches(client *api.Client) error {
	plans := map[string]map[string]any{
		"services":      {"type": "services"},
		"nodes":         {"type": "nodes"},
		"service":       {"type": "service", "service": service},
		"tagged":        {"type": "service", "service": service, "tag": []any{"b"}, "passingonly": true},
		"checks":        {"type": "checks", "service": service},
		"agent service": {"type": "agent_service", "service_id": "w-1"},
		"event":         {"type": "event", "name": "deploy"},
		"filtered":      {"type": "service", "service": service, "filter": `Service.Meta.colour == "red" and "b" in Service.Tags`},
	}
	if err := register(client, "w-1", "a"); err != nil {
		return err
	}
	on := map[string]*watcher{}
	for what, params := range plans {
		w, err := start(what, params)
		if err != nil {
			return err
		}
		defer w.plan.Stop()
		on[what] = w
	}
	names := func(name string, want bool) func(any) bool {
		return func(data any) bool { _, has := data.(map[string][]string)[name]; return has == want }
	}
	hasNode := func(want bool) func(any) bool {
		return func(data any) bool {
			return want == slices.ContainsFunc(data.([]*api.Node), func(n *api.Node) bool { return n.Node == "w-elsewhere" })
		}
	}
	port := func(want int) func(any) bool {
		return func(data any) bool { return data.(*api.AgentService).Port == want }
	}
	payload := func(want ...string) func(any) bool {
		return func(data any) bool {
			got := []string{}
			for _, e := range data.([]*api.UserEvent) {
				got = append(got, string(e.Payload))
			}
			return slices.Equal(got, want)
		}
	}
	fire := func(name, payload string) func() error {
		return func() error {
			_, _, err := client.Event().Fire(&api.UserEvent{Name: name, Payload: []byte(payload)}, nil)
			return err
		}
	}
	maintenance := func(want bool) func(any) bool {
		return func(data any) bool {
			return want == slices.ContainsFunc(data.([]*api.HealthCheck), func(c *api.HealthCheck) bool {
				return c.CheckID == "_service_maintenance:w-1" && c.Notes == "a new disk"
			})
		}
	}
	steps := []struct {
		do    func() error
		watch string
		state string
		fits  func(any) bool
	}{
		{nil, "services", "has the name", names(service, true)},
		{nil, "nodes", "lists nodes", hasNode(false)},
		{nil, "service", "one instance", instances(1)},
		{nil, "tagged", "nobody has the tag", instances(0)},
		{nil, "checks", "passing", statusOf(api.HealthPassing)},
		{nil, "agent service", "as registered", port(99)},
		{nil, "event", "none yet", payload()},
		{nil, "filtered", "nobody fits", instances(0)},
		{func() error { return client.Agent().UpdateTTL("beat:w-1", "hm", api.HealthWarning) }, "checks", "warning", statusOf(api.HealthWarning)},
		{func() error { return client.Agent().UpdateTTL("beat:w-1", "no", api.HealthCritical) }, "checks", "critical", statusOf(api.HealthCritical)},
		{func() error { return client.Agent().UpdateTTL("beat:w-1", "yes", api.HealthPassing) }, "checks", "passing again", statusOf(api.HealthPassing)},
		{func() error { return client.Agent().EnableServiceMaintenance("w-1", "a new disk") }, "checks", "in maintenance", maintenance(true)},
		{func() error { return client.Agent().DisableServiceMaintenance("w-1") }, "checks", "out of it", maintenance(false)},
		{func() error { return register(client, "w-2", "b") }, "service", "two instances", instances(2)},
		{nil, "tagged", "one has the tag", instances(1)},
		{nil, "filtered", "one fits", instances(1)},
		{func() error { return client.Agent().UpdateTTL("beat:w-2", "no", api.HealthCritical) }, "tagged", "but does not pass", instances(0)},
		{func() error {
			_, err := client.Catalog().Register(&api.CatalogRegistration{Node: "w-elsewhere", Address: "10.9.9.9"}, nil)
			return err
		}, "nodes", "sees the new node", hasNode(true)},
		{func() error {
			_, err := client.Catalog().Deregister(&api.CatalogDeregistration{Node: "w-elsewhere"}, nil)
			return err
		}, "nodes", "sees it go", hasNode(false)},
		{func() error {
			return client.Agent().ServiceRegister(&api.AgentServiceRegistration{ID: "w-1", Name: service, Port: 100})
		}, "agent service", "the new port", port(100)},
		{func() error { return errors.Join(fire("other", "not for us")(), fire("deploy", "v2")()) }, "event", "the one of its name", payload("v2")},
	}
	for _, s := range steps {
		if s.do != nil {
			if err := s.do(); err != nil {
				return fmt.Errorf("before %s: %s: %w", s.watch, s.state, err)
			}
		}
		if err := on[s.watch].until(s.state, s.fits); err != nil {
			return err
		}
	}
	// Another service comes and goes: nobody here wakes but the list of names.
	other := &api.AgentServiceRegistration{ID: "o-1", Name: "other"}
	if err := client.Agent().ServiceRegister(other); err != nil {
		return err
	}
	if err := on["services"].until("the other name", names("other", true)); err != nil {
		return err
	}
	if err := client.Agent().ServiceDeregister("o-1"); err != nil {
		return err
	}
	if err := on["tagged"].silent(); err != nil {
		return err
	}
	for _, id := range []string{"w-1", "w-2"} {
		if err := client.Agent().ServiceDeregister(id); err != nil {
			return err
		}
	}
	if err := on["service"].until("nobody left", instances(0)); err != nil {
		return err
	}
	return on["services"].until("no name left", names(service, false))
}

// refusals shows the client what it must be able to tell apart.
func refusals(client *api.Client) error {
	code := func(want int, word string, err error) error {
		var status api.StatusError
		switch {
		case !errors.As(err, &status):
			return fmt.Errorf("want status %d, got %v", want, err)
		case status.Code != want || !strings.Contains(status.Body, word):
			return fmt.Errorf("want status %d with %q, got %d %q", want, word, status.Code, status.Body)
		}
		return nil
	}
	agent := client.Agent()
	_, _, notFound := agent.Service("nobody", nil)
	_, _, farAway := client.Health().Service(service, "", false, &api.QueryOptions{Datacenter: "nowhere"})
	return errors.Join(
		code(400, "invalid duration", agent.ServiceRegister(&api.AgentServiceRegistration{Name: "x", Check: &api.AgentServiceCheck{TTL: "soon"}})),
		code(400, "", agent.ServiceRegister(&api.AgentServiceRegistration{})),
		code(404, "nobody", notFound),
		code(404, "nobody", agent.UpdateTTL("nobody", "", api.HealthPassing)),
		code(404, "nobody", agent.EnableServiceMaintenance("nobody", "")),
		code(500, "No path to datacenter", farAway),
	)
}

func run() error {
	config := api.DefaultConfig()
	transport := config.Transport
	transport.DisableKeepAlives = true // every request its own connection
	config.HttpClient = &http.Client{Transport: transport}
	client, err := api.NewClient(config)
	if err != nil {
		return err
	}
	if err := watches(client); err != nil {
		return err
	}
	if err := refusals(client); err != nil {
		return err
	}
	fmt.Println("ok: what must be refused is refused")
	return nil
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "watch: FAILED: %v\n", err)
		os.Exit(1)
	}
	fmt.Println("all steps passed")
}
