// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

import java.net.URI;
import java.util.List;
import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import java.util.function.Predicate;
import org.kiwiproject.consul.AgentClient;
import org.kiwiproject.consul.Consul;
import org.kiwiproject.consul.ConsulException;
import org.kiwiproject.consul.HealthClient;
import org.kiwiproject.consul.NotRegisteredException;
import org.kiwiproject.consul.cache.ServiceHealthCache;
import org.kiwiproject.consul.model.health.ServiceHealth;

/**
 * Drives a registry with org.kiwiproject:consul-client: PORT CHECK_URL. Its cache
 * of a service's instances is a loop of long polls.
 */
public class Kiwi {
    static final long LIMIT_S = 30;

    static void check(boolean holds, Object what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void await(BlockingQueue<List<ServiceHealth>> seen, String what,
                      Predicate<List<ServiceHealth>> condition) throws Exception {
        for (;;) {
            List<ServiceHealth> now = seen.poll(LIMIT_S, TimeUnit.SECONDS);
            check(now != null, what + ": did not happen");
            if (condition.test(now)) {
                System.out.println("ok: " + what);
                return;
            }
        }
    }

    static boolean passes(ServiceHealth instance) {
        return instance.getChecks().stream().allMatch(c -> c.getStatus().equals("passing"));
    }

    public static void main(String[] args) throws Exception {
        Consul consul = Consul.builder().withUrl("http://127.0.0.1:" + args[0]).build();
        AgentClient agent = consul.agentClient();
        HealthClient health = consul.healthClient();
        check(!consul.statusClient().getLeader().isEmpty(), "no leader");
        check(!agent.getMembers().isEmpty(), "no members");

        BlockingQueue<List<ServiceHealth>> seen = new LinkedBlockingQueue<>();
        try (ServiceHealthCache cache = ServiceHealthCache.newCache(health, "kiwi", false, 5,
                 org.kiwiproject.consul.option.Options.BLANK_QUERY_OPTIONS)) {
            cache.addListener(map -> seen.add(List.copyOf(map.values())));
            cache.start();
            await(seen, "the cache starts empty", List::isEmpty);

            agent.register(99, URI.create(args[1]).toURL(), 1, "kiwi", "kiwi-1", List.of("a"),
                Map.of("colour", "red"));
            await(seen, "kiwi-1 is there and passes",
                x -> x.size() == 1 && passes(x.get(0)) && x.get(0).getService().getPort() == 99);
            agent.register(98, 30L, "kiwi", "kiwi-2", List.of(), Map.of());
            await(seen, "the cache sees kiwi-2", x -> x.size() == 2);
            agent.pass("kiwi-2", "fine");
            await(seen, "both pass", x -> x.size() == 2 && x.stream().allMatch(Kiwi::passes));
            agent.toggleMaintenanceMode("kiwi-1", true, "a new disk");
            await(seen, "maintenance shows", x -> x.stream().filter(Kiwi::passes).count() == 1);
            agent.toggleMaintenanceMode("kiwi-1", false);
            await(seen, "and ends", x -> x.stream().allMatch(Kiwi::passes));

            check(agent.getServices().get("kiwi-1").getMeta().get("colour").equals("red"), "meta");
            check(agent.getService("kiwi-1",
                org.kiwiproject.consul.option.Options.BLANK_QUERY_OPTIONS).getResponse()
                .getTags().equals(List.of("a")), "tags");
            check(health.getHealthyServiceInstances("kiwi").getResponse().size() == 2, "healthy");
            check(consul.catalogClient().getService("kiwi").getResponse().size() == 2, "catalog");

            try {
                agent.pass("nobody");
                throw new AssertionError("a check that is not there took a beat");
            } catch (NotRegisteredException e) {
                System.out.println("ok: " + e.getMessage());
            }
            try {
                agent.registerCheck("c", "c", -1);
                throw new AssertionError("a TTL below zero was taken");
            } catch (ConsulException e) {
                check(e.getCode() == 400, e);
            }

            agent.deregister("kiwi-1");
            agent.deregister("kiwi-2");
            await(seen, "the cache is empty again", List::isEmpty);
        }
        consul.destroy();
        System.out.println("all steps passed");
        System.exit(0);
    }
}
