/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* Which services of the mirror are still used: each request and each DNS question
 * leaves its time (base/uses.h), and before idle ones are dropped every serving
 * thread adds what is followed there, long polls and event streams. A thread that
 * answers has also left behind whatever it looked at before, so that two rounds
 * make sure that nobody follows what goes (mirror.h). */
#include <stdlib.h>

#include "server/gate.h"
#include "server/link_impl.h"
#include "server/serving.h"

/* --- On a serving thread -------------------------------------------------- */

static void touch(void *ctx, struct follow *f)
{
    struct serving *s = ctx;

    uses_touch(s->process->uses, f->hash, uv_now(&s->loop));
}

void link_look(struct serving *s, struct letter *l)
{
    struct link_look *look = container_of(l, struct link_look, letter);

    follows_each(&s->parks.groups, touch, s);
    follows_each(&s->pushes.groups, touch, s);
    core_post(s->process->core, &look->back);
}

/* --- On the core thread --------------------------------------------------- */

/* Long polls and streams are followed under one of these keys. */
static uint64_t used(void *ctx, struct bytes name)
{
    static const enum watch_kind kinds[] = {WATCH_SERVICE, WATCH_SERVICE_HEALTH,
                                            WATCH_SERVICE_CHECKS};
    struct uses *u = ctx;
    uint64_t newest = 0;

    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        uint64_t at =
            uses_last_ms(u, watch_hash((struct watch_key){kinds[i], name}));
        newest = at > newest ? at : newest;
    }
    return newest;
}

static uint64_t idle_ms(const struct link *l)
{
    uint64_t ms = l->core->options.mirror_idle_ms;

    return ms ? ms : LINK_IDLE_MS;
}

static void sweep(struct link *l)
{
    struct process *p = l->core->process;
    const struct mirror_idle idle = {
        .now_ms = process_now_ms(),
        .idle_ms = idle_ms(l),
        .used = used,
        .ctx = p->uses,
    };
    size_t gone = mirror_sweep(l->mirror, &idle);

    if (gone == 0)
        return;
    atomic_fetch_add(&p->dropped, 1);
    atomic_store(&l->full, false);
    log_debug("link",
              "%zu services were not used for long, %zu subscriptions "
              "are left",
              gone, mirror_subscriptions(l->mirror));
    feed_reopen(l);
}

static void set_timer(struct link *l)
{
    uint64_t ms = idle_ms(l) / LINK_SWEEPS;

    if (atomic_load(&l->full))
        ms /= LINK_SWEEPS;
    timer_set(&l->core->timers, &l->sweep,
              ms > LINK_SWEEP_MIN_MS ? ms : LINK_SWEEP_MIN_MS);
}

static void on_back(struct core *c, struct core_letter *letter)
{
    struct link *l = c->link;

    (void)letter;
    if (--l->looking > 0 || l->stopped)
        return;
    sweep(l);
    set_timer(l);
}

static void on_sweep(struct timer *t)
{
    struct link *l = container_of(t, struct link, sweep);
    struct process *p = l->core->process;

    if (l->stopped || l->core->serving_ends)
        return;
    for (int i = 0; i < p->serving_count; i++) {
        if (!p->serving[i])
            continue;
        struct link_look *look = &l->looks[i];
        list_init(&look->letter.link);
        list_init(&look->back.link);
        look->letter.kind = LETTER_USES;
        look->back.run = on_back;
        l->looking++;
        serving_post(p->serving[i], &look->letter);
    }
    if (l->looking == 0) /* too early */
        set_timer(l);
}

enum err uses_begin(struct link *l)
{
    l->sweep.fire = on_sweep;
    l->core->process->uses = calloc(1, sizeof *l->core->process->uses);
    if (!l->core->process->uses)
        return ERR_NOMEM;
    set_timer(l);
    return ERR_OK;
}

void uses_stop(struct link *l)
{
    timer_clear(&l->core->timers, &l->sweep);
}

uint64_t link_age_of(void *process)
{
    bool known;

    return contact_ms(process, &known);
}
