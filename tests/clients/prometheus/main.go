// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

// Prometheus runs the discovery that Prometheus builds from a consul_sd_configs section, and sees that targets come, keep their
// labels, change and go.
//
//	CONSUL_HTTP_ADDR=127.0.0.1:8500 go run .
package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"time"

	"github.com/hashicorp/consul/api"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"go.yaml.in/yaml/v2"

	"github.com/prometheus/prometheus/discovery"
	"github.com/prometheus/prometheus/discovery/consul"
	"github.com/prometheus/prometheus/discovery/targetgroup"
)

const (
	limit  = 30 * time.Second
	config = `
server: %q
refresh_interval: 10ms
tags: [metrics]
health_filter: 'Service.Meta.team != "red" and Service.Port != 1'
`
)

// finder keeps the newest group of each source, as Prometheus' manager does.
type finder struct {
	updates chan []*targetgroup.Group
	groups  map[string]*targetgroup.Group
}

func start(ctx context.Context, address string) (*finder, error) {
	var section consul.SDConfig
	if err := yaml.Unmarshal([]byte(fmt.Sprintf(config, address)), &section); err != nil {
		return nil, err
	}
	registry := prometheus.NewRegistry()
	metrics := section.NewDiscovererMetrics(registry, discovery.NewRefreshMetrics(registry))
	if err := metrics.Register(); err != nil {
		return nil, err
	}
	d, err := section.NewDiscoverer(discovery.DiscovererOptions{Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)), Metrics: metrics})
	if err != nil {
		return nil, err
	}
	f := &finder{make(chan []*targetgroup.Group), map[string]*targetgroup.Group{}}
	go d.Run(ctx, f.updates)
	return f, nil
}

// targets are those of one service, by their address.
func (f *finder) targets(service string) map[string]model.LabelSet {
	ret := map[string]model.LabelSet{}
	if g := f.groups[service]; g != nil {
		for _, t := range g.Targets {
			ret[string(t[model.AddressLabel])] = t.Merge(g.Labels)
		}
	}
	return ret
}

func (f *finder) until(what string, holds func() bool) error {
	timeout := time.After(limit)
	for !holds() {
		select {
		case groups := <-f.updates:
			for _, g := range groups {
				f.groups[g.Source] = g
			}
		case <-timeout:
			return fmt.Errorf("%s: not seen in %v; groups: %v", what, limit, f.groups)
		}
	}
	fmt.Println("ok:", what)
	return nil
}

func register(client *api.Client, name, id string, port int, tags ...string) error {
	return client.Agent().ServiceRegister(&api.AgentServiceRegistration{
		Name: name, ID: id, Address: "10.1.2.3", Port: port, Tags: tags,
		Meta:  map[string]string{"metrics-path": "/stats", "team": "blue"},
		Check: &api.AgentServiceCheck{CheckID: "beat:" + id, TTL: "60s", Status: api.HealthPassing},
	})
}

func checkLabels(client *api.Client, got model.LabelSet) error {
	self, err := client.Agent().Self()
	if err != nil {
		return err
	}
	node, _ := self["Config"]["NodeName"].(string)
	want := model.LabelSet{
		"__address__":                                 "10.1.2.3:9100",
		"__meta_consul_address":                       "127.0.0.1",
		"__meta_consul_dc":                            "dc1",
		"__meta_consul_health":                        "passing",
		"__meta_consul_namespace":                     "",
		"__meta_consul_node":                          model.LabelValue(node),
		"__meta_consul_partition":                     "",
		"__meta_consul_service":                       "shop",
		"__meta_consul_service_address":               "10.1.2.3",
		"__meta_consul_service_id":                    "shop-1",
		"__meta_consul_service_metadata_team":         "blue",
		"__meta_consul_service_port":                  "9100",
		"__meta_consul_tagged_address_lan":            "127.0.0.1",
		"__meta_consul_tagged_address_lan_ipv4":       "127.0.0.1",
		"__meta_consul_tagged_address_wan":            "127.0.0.1",
		"__meta_consul_tagged_address_wan_ipv4":       "127.0.0.1",
		"__meta_consul_tags":                          ",metrics,v1,",
		"__meta_consul_service_metadata_metrics_path": "/stats",
	}
	got = maps.Clone(got)
	for name := range got {
		if len(name) > len("__meta_consul_metadata_") && name[:len("__meta_consul_metadata_")] == "__meta_consul_metadata_" {
			delete(got, name) // of the node itself; versions differ
		}
	}
	if !got.Equal(want) {
		return fmt.Errorf("labels are\n%v, want\n%v", got, want)
	}
	fmt.Println("ok: the labels of a target")
	return nil
}

func run() error {
	address := os.Getenv("CONSUL_HTTP_ADDR")
	client, err := api.NewClient(api.DefaultConfig())
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	f, err := start(ctx, address)
	if err != nil {
		return err
	}
	size := func(service string, n int) func() bool {
		return func() bool { return len(f.targets(service)) == n }
	}
	health := func(address, status string) func() bool {
		return func() bool { return string(f.targets("shop")[address]["__meta_consul_health"]) == status }
	}
	outside := &api.CatalogRegistration{Node: "p-elsewhere", Address: "10.9.9.9", NodeMeta: map[string]string{"rack": "r1"},
		Service: &api.AgentService{ID: "shop-3", Service: "shop", Port: 9300, Tags: []string{"metrics"}}}
	ttl := func(status string) func() error {
		return func() error { return client.Agent().UpdateTTL("beat:shop-2", "", status) }
	}
	steps := []struct {
		what string
		do   func() error
		seen func() bool
	}{
		{"the first target", func() error { return register(client, "shop", "shop-1", 9100, "metrics", "v1") }, size("shop", 1)},
		{"", func() error { return checkLabels(client, f.targets("shop")["10.1.2.3:9100"]) }, nil},
		{"", func() error { return register(client, "dark", "dark-1", 9900, "nothing") }, nil},
		{"", func() error { return register(client, "shop", "shop-0", 1, "metrics") }, nil}, // filtered away
		{"a second target", func() error { return register(client, "shop", "shop-2", 9200, "metrics") }, size("shop", 2)},
		{"it turns critical", ttl(api.HealthCritical), health("10.1.2.3:9200", "critical")},
		{"and passes again", ttl(api.HealthPassing), health("10.1.2.3:9200", "passing")},
		{"maintenance", func() error { return client.Agent().EnableServiceMaintenance("shop-2", "") }, health("10.1.2.3:9200", "maintenance")},
		{"a target of another node, at the node's address", func() error {
			_, err := client.Catalog().Register(outside, nil)
			return err
		}, func() bool { return f.targets("shop")["10.9.9.9:9300"]["__meta_consul_metadata_rack"] == "r1" }},
		{"that node goes, its target too", func() error {
			_, err := client.Catalog().Deregister(&api.CatalogDeregistration{Node: "p-elsewhere"}, nil)
			return err
		}, size("shop", 2)},
		{"a target goes", func() error { return client.Agent().ServiceDeregister("shop-2") }, size("shop", 1)},
		{"a second service", func() error { return register(client, "store", "store-1", 9100, "metrics") }, size("store", 1)},
		{"a service goes, with its last target", func() error {
			return errors.Join(client.Agent().ServiceDeregister("shop-1"), client.Agent().ServiceDeregister("shop-0"))
		}, size("shop", 0)},
		{"the other one too", func() error { return client.Agent().ServiceDeregister("store-1") }, size("store", 0)},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("%s: %w", s.what, err)
		}
		if s.seen == nil {
			continue
		}
		if err := f.until(s.what, s.seen); err != nil {
			return err
		}
	}
	if n := len(f.targets("dark")); n != 0 {
		return fmt.Errorf("%d targets without the wanted tag", n)
	}
	return client.Agent().ServiceDeregister("dark-1")
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintf(os.Stderr, "prometheus: FAILED: %v\n", err)
		os.Exit(1)
	}
	fmt.Println("all steps passed")
}
