// SPDX-FileCopyrightText: The muster authors
// SPDX-License-Identifier: Apache-2.0

import com.ecwid.consul.v1.ConsulClient;
import com.ecwid.consul.v1.OperationException;
import com.ecwid.consul.v1.QueryParams;
import com.ecwid.consul.v1.Response;
import com.ecwid.consul.v1.agent.model.NewService;
import com.ecwid.consul.v1.catalog.CatalogServicesRequest;
import com.ecwid.consul.v1.catalog.model.CatalogDeregistration;
import com.ecwid.consul.v1.catalog.model.CatalogRegistration;
import com.ecwid.consul.v1.event.model.EventParams;
import com.ecwid.consul.v1.health.HealthServicesRequest;
import com.ecwid.consul.v1.health.model.Check;
import com.ecwid.consul.v1.health.model.HealthService;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.TimeUnit;

/**
 * Drives a registry with com.ecwid.consul:consul-api: PORT CHECK_URL. It sends
 * its JSON as text/plain, and its parameters as Spring Cloud Consul does.
 */
public class Ecwid {
    static final long LIMIT_MS = 30_000;

    static void within(String what, Callable<Boolean> condition) throws Exception {
        long deadline = System.currentTimeMillis() + LIMIT_MS;
        while (!condition.call()) {
            if (System.currentTimeMillis() > deadline) {
                throw new AssertionError(what + ": did not happen");
            }
            Thread.sleep(20);
        }
        System.out.println("ok: " + what);
    }

    static void check(boolean holds, Object what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    interface Call {
        void run() throws Exception;
    }

    static void refused(int status, Call call) throws Exception {
        try {
            call.run();
        } catch (OperationException e) {
            check(e.getStatusCode() == status, e);
            check(!e.getStatusContent().isEmpty(), "no word about " + status);
            return;
        }
        throw new AssertionError("was not refused with " + status);
    }

    static NewService service(String id, NewService.Check check) {
        NewService ret = new NewService();
        ret.setId(id);
        ret.setName("jvm");
        ret.setAddress("127.0.0.1");
        ret.setPort(99);
        ret.setTags(List.of("a", "secure=false"));
        ret.setMeta(Map.of("colour", "red"));
        ret.setCheck(check);
        return ret;
    }

    static NewService.Check ttl(String time) {
        NewService.Check ret = new NewService.Check();
        ret.setTtl(time);
        return ret;
    }

    static HealthServicesRequest question(boolean passing, QueryParams more) {
        return HealthServicesRequest.newBuilder().setPassing(passing).setQueryParams(more).build();
    }

    public static void main(String[] args) throws Exception {
        ConsulClient c = new ConsulClient("127.0.0.1", Integer.parseInt(args[0]));
        check(!c.getStatusLeader().getValue().isEmpty(), "no leader");
        String node = c.getAgentSelf().getValue().getConfig().getNodeName();
        check(!node.isEmpty(), "no node name");

        NewService.Check http = new NewService.Check();
        http.setHttp(args[1]);
        http.setInterval("1s");
        http.setTimeout("1s");
        http.setHeader(Map.of("X-From", List.of("jvm")));
        http.setDeregisterCriticalServiceAfter("10m");
        c.agentServiceRegister(service("jvm-1", http));
        Callable<List<HealthService>> passing =
            () -> c.getHealthServices("jvm", question(true, QueryParams.DEFAULT)).getValue();
        within("jvm-1 passes", () -> passing.call().size() == 1);

        HealthService found = passing.call().get(0);
        check(found.getService().getPort() == 99, found);
        check(found.getService().getMeta().equals(Map.of("colour", "red")), found);
        check(found.getNode().getNode().equals(node), found);
        check(c.getAgentServices().getValue().get("jvm-1").getTags().contains("a"), "tags");
        var names = c.getCatalogServices(CatalogServicesRequest.newBuilder().build()).getValue();
        check(names.get("jvm").equals(List.of("a", "secure=false")), names);
        var rows = c.getCatalogService("jvm", QueryParams.DEFAULT).getValue();
        check(rows.get(0).getServiceId().equals("jvm-1"), rows);

        // The question of Spring Cloud Consul's catalog watch: names, by index.
        Response<Map<String, List<String>>> now =
            c.getCatalogServices(CatalogServicesRequest.newBuilder().build());
        check(now.isConsulKnownLeader() && now.getConsulIndex() > 0, now);
        var woken = CompletableFuture.supplyAsync(() -> c.getCatalogServices(
            CatalogServicesRequest.newBuilder()
                .setQueryParams(new QueryParams(55, now.getConsulIndex())).build()));
        NewService other = service("other-1", ttl("30s"));
        other.setName("other");
        c.agentServiceRegister(other);
        var then = woken.get(LIMIT_MS, TimeUnit.MILLISECONDS);
        check(then.getConsulIndex() > now.getConsulIndex(), then);
        check(then.getValue().containsKey("other"), then);
        System.out.println("ok: a long poll wakes");

        c.agentServiceRegister(service("jvm-2", ttl("30s")));
        c.agentCheckPass("service:jvm-2", "fine");
        check(passing.call().size() == 2, "jvm-2 does not pass");
        c.agentCheckWarn("service:jvm-2");
        c.agentCheckFail("service:jvm-2", "broken");
        check(passing.call().size() == 1, "jvm-2 passes");
        var critical = c.getHealthChecksState(Check.CheckStatus.CRITICAL, QueryParams.DEFAULT);
        check(critical.getValue().stream().anyMatch(
            x -> x.getServiceId().equals("jvm-2") && x.getOutput().equals("broken")), critical);

        c.agentServiceSetMaintenance("jvm-1", true, "a new disk");
        check(passing.call().isEmpty(), "in maintenance and passing");
        c.agentServiceSetMaintenance("jvm-1", false);
        check(passing.call().size() == 1, "still in maintenance");

        var fired = c.eventFire("jvm-deploy", "v2", new EventParams(), QueryParams.DEFAULT).getValue();
        var heard = c.eventList("jvm-deploy", QueryParams.DEFAULT).getValue();
        check(heard.get(heard.size() - 1).getId().equals(fired.getId()), heard);

        CatalogRegistration outside = new CatalogRegistration();
        outside.setNode("jvm-elsewhere");
        outside.setAddress("10.9.9.9");
        c.catalogRegister(outside);
        check(c.getCatalogNode("jvm-elsewhere", QueryParams.DEFAULT).getValue() != null, "node");
        CatalogDeregistration gone = new CatalogDeregistration();
        gone.setNode("jvm-elsewhere");
        c.catalogDeregister(gone);
        check(c.getCatalogNode("jvm-elsewhere", QueryParams.DEFAULT).getValue() == null, "node");

        refused(400, () -> c.agentServiceRegister(service("jvm-3", ttl("soon"))));
        refused(404, () -> c.agentCheckPass("nobody"));
        refused(500, () -> c.getHealthServices("jvm", question(true, new QueryParams("nowhere"))));

        for (String id : List.of("jvm-1", "jvm-2", "other-1")) {
            c.agentServiceDeregister(id);
        }
        check(c.getHealthServices("jvm", question(false, QueryParams.DEFAULT)).getValue().isEmpty(),
            "still there");
        System.out.println("all steps passed");
        System.exit(0);
    }
}
