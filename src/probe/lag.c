/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "base/duration.h"
#include "probe/impl.h"

static void note(struct lag *l, uint64_t now_ns)
{
    uint64_t took = now_ns - l->at_ns;
    uint64_t late =
        l->waiting ? took - (took < l->for_ns ? took : l->for_ns) : took;

    if (late <= (uint64_t)PROBE_LAG_MS * NS_PER_MS)
        return;
    l->ms = late / NS_PER_MS;
    l->end_ms = now_ns / NS_PER_MS;
}

static void on_before(uv_prepare_t *h)
{
    struct lag *l = container_of(h, struct lag, before);
    uint64_t now = uv_hrtime();
    int wait_ms = uv_backend_timeout(h->loop);

    note(l, now);
    l->at_ns = now;
    l->for_ns = wait_ms < 0 ? UINT64_MAX : (uint64_t)wait_ms * NS_PER_MS;
    l->waiting = true;
}

static void on_after(uv_check_t *h)
{
    struct lag *l = container_of(h, struct lag, after);
    uint64_t now = uv_hrtime();

    note(l, now);
    l->at_ns = now;
    l->waiting = false;
}

enum err lag_open(struct lag *l, uv_loop_t *loop)
{
    l->at_ns = uv_hrtime();
    if (uv_prepare_init(loop, &l->before) != 0 ||
        uv_check_init(loop, &l->after) != 0 ||
        uv_prepare_start(&l->before, on_before) != 0 ||
        uv_check_start(&l->after, on_after) != 0)
        return ERR_NOMEM;
    /* They keep no loop alive. */
    uv_unref((uv_handle_t *)&l->before);
    uv_unref((uv_handle_t *)&l->after);
    return ERR_OK;
}

void lag_close(struct lag *l)
{
    uv_close((uv_handle_t *)&l->before, NULL);
    uv_close((uv_handle_t *)&l->after, NULL);
}

uint64_t lag_since(struct lag *l, uint64_t began_ms)
{
    /* Events come before the end of the wait that brought them. */
    note(l, uv_hrtime());
    return began_ms < l->end_ms ? l->ms : 0;
}
