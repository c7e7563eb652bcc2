/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
#include "loop/names.h"

#include <ares.h>
#include <netdb.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "base/check.h"
#include "base/map.h"
#include "loop/watch.h"

/* A name: being asked for (in the map only), or kept (in `kept` too). */
struct entry {
    struct names *names;
    struct names_answer answer;
    struct sockaddr_storage *addresses; /* those of the answer */
    struct list waiting;                /* struct lookup */
    struct list link;                   /* in names->kept, oldest first */
    uint64_t until_ms;
    bool asking;
    size_t host_n;
    char host[];
};

struct server_socket {
    struct list link;
    struct names *names;
    struct watch *watch;
    int fd;
};

struct names {
    uv_loop_t *loop;
    struct timers *timers;
    struct timer timer; /* c-ares's next time-out */
    ares_channel channel;
    bool channel_open;
    struct list sockets; /* c-ares's */
    struct map entries;
    struct list kept;
    size_t asking;
    struct timespec conf_changed;
    uint64_t conf_looked_ms;
    struct sockaddr_storage literal;
    struct names_answer literal_answer;
};

/* --- c-ares on libuv ------------------------------------------------------ */

static void set_timer(struct names *n)
{
    struct timeval tv, *next = ares_timeout(n->channel, NULL, &tv);

    if (next)
        timer_set(n->timers, &n->timer,
                  (uint64_t)next->tv_sec * 1000 +
                      (uint64_t)next->tv_usec / 1000 + 1);
    else
        timer_clear(n->timers, &n->timer);
}

static void on_timer(struct timer *t)
{
    struct names *n = container_of(t, struct names, timer);
    ares_process_fd(n->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
    set_timer(n);
}

static void on_socket(void *owner, int events)
{
    struct server_socket *s = owner;
    struct names *n = s->names;
    int fd = s->fd; /* s may go */

    ares_process_fd(n->channel, events & UV_READABLE ? fd : ARES_SOCKET_BAD,
                    events & UV_WRITABLE ? fd : ARES_SOCKET_BAD);
    set_timer(n);
}

static struct server_socket *find_socket(struct names *n, int fd)
{
    list_each (it, &n->sockets) {
        struct server_socket *s = container_of(it, struct server_socket, link);
        if (s->fd == fd)
            return s;
    }
    return NULL;
}

/* Without memory for it, the query ends by its time-out. */
static struct server_socket *add_socket(struct names *n, int fd)
{
    struct server_socket *s = calloc(1, sizeof *s);

    if (!s)
        return NULL;
    s->names = n;
    s->fd = fd;
    s->watch = watch_open(n->loop, fd, on_socket, s);
    if (!s->watch) {
        free(s);
        return NULL;
    }
    list_add(&n->sockets, &s->link);
    return s;
}

static void on_socket_state(void *ctx, int fd, int readable, int writable)
{
    struct names *n = ctx;
    struct server_socket *s = find_socket(n, fd);

    if (!readable && !writable) { /* about to be closed */
        if (!s)
            return;
        list_del(&s->link);
        watch_close(s->watch);
        free(s);
        return;
    }
    if (!s)
        s = add_socket(n, fd);
    if (s)
        watch_for(s->watch,
                  (readable ? UV_READABLE : 0) | (writable ? UV_WRITABLE : 0));
}

/* --- The channel ---------------------------------------------------------- */

static bool open_channel(struct names *n)
{
    struct ares_options o = {.sock_state_cb = on_socket_state,
                             .sock_state_cb_data = n};

    if (!n->channel_open)
        n->channel_open =
            ares_init_options(&n->channel, &o, ARES_OPT_SOCK_STATE_CB) ==
            ARES_SUCCESS;
    return n->channel_open;
}

static void close_channel(struct names *n)
{
    if (n->channel_open)
        ares_destroy(n->channel);
    n->channel_open = false;
    timer_clear(n->timers, &n->timer);
}

/* A laptop moves, a container gets its file late: c-ares would ask the old
 * servers for ever. Not while something is being asked. */
static void reload(struct names *n)
{
    struct stat st;
    uint64_t now = uv_now(n->loop);

    if (n->asking ||
        (n->channel_open && now - n->conf_looked_ms < NAMES_RELOAD_MS))
        return;
    n->conf_looked_ms = now;
    if (stat("/etc/resolv.conf", &st) != 0)
        st.st_mtim = (struct timespec){0};
    if (st.st_mtim.tv_sec == n->conf_changed.tv_sec &&
        st.st_mtim.tv_nsec == n->conf_changed.tv_nsec)
        return;
    n->conf_changed = st.st_mtim;
    close_channel(n);
}

/* --- Answers -------------------------------------------------------------- */

static void entry_free(struct entry *e)
{
    list_del(&e->link);
    (void)map_del(&e->names->entries, bytes_of(e->host, e->host_n));
    free(e->addresses);
    free(e);
}

static const char *text_of(int status)
{
    switch (status) {
    case ARES_ENODATA:
    case ARES_ENOTFOUND:
    case ARES_EBADNAME:
        return "no such host";
    case ARES_ETIMEOUT:
        return "i/o timeout";
    case ARES_ECONNREFUSED:
        return "no name server of /etc/resolv.conf can be reached";
    case ARES_ESERVFAIL:
    case ARES_EREFUSED:
        return "server misbehaving";
    default:
        return ares_strerror(status);
    }
}

/* False: out of memory, or none. */
static bool take_addresses(struct entry *e, const struct ares_addrinfo *info,
                           uint64_t *ret_ttl_ms)
{
    size_t n = 0;

    e->addresses = calloc(NAMES_ADDRESSES_MAX, sizeof *e->addresses);
    if (!e->addresses)
        return false;
    for (const struct ares_addrinfo_node *a = info->nodes;
         a && n < NAMES_ADDRESSES_MAX; a = a->ai_next) {
        if ((a->ai_family != AF_INET && a->ai_family != AF_INET6) ||
            a->ai_addrlen > sizeof *e->addresses)
            continue;
        memcpy(&e->addresses[n++], a->ai_addr, a->ai_addrlen);
        uint64_t ttl_ms = a->ai_ttl > 0 ? (uint64_t)a->ai_ttl * 1000 : 0;
        if (ttl_ms < *ret_ttl_ms)
            *ret_ttl_ms = ttl_ms;
    }
    e->answer.addresses = e->addresses;
    e->answer.n = n;
    return n > 0;
}

static void on_answer(void *arg, int status, int timeouts,
                      struct ares_addrinfo *info)
{
    struct entry *e = arg;
    struct names *n = e->names;
    uint64_t ttl_ms = NAMES_KEEP_MAX_MS;

    (void)timeouts;
    n->asking--;
    if (status == ARES_SUCCESS && !take_addresses(e, info, &ttl_ms))
        status = ARES_ENODATA;
    if (info)
        ares_freeaddrinfo(info);
    if (status != ARES_SUCCESS) {
        e->answer.error = text_of(status);
        ttl_ms = 0;
    }
    if (ttl_ms < NAMES_KEEP_MIN_MS)
        ttl_ms = NAMES_KEEP_MIN_MS;
    e->until_ms = uv_now(n->loop) + ttl_ms;
    /* Who hears of it may ask again, for this name too. */
    while (!list_empty(&e->waiting)) {
        struct lookup *l = container_of(e->waiting.next, struct lookup, link);
        list_del(&l->link);
        l->done(l, &e->answer);
    }
    e->asking = false;
    list_add(&n->kept, &e->link);
}

/* --- Asking --------------------------------------------------------------- */

static const struct names_answer *literal(struct names *n, const char *host)
{
    if (uv_ip4_addr(*host ? host : "127.0.0.1", 0,
                    (struct sockaddr_in *)&n->literal) != 0 &&
        uv_ip6_addr(host, 0, (struct sockaddr_in6 *)&n->literal) != 0)
        return NULL;
    n->literal_answer = (struct names_answer){NULL, &n->literal, 1};
    return &n->literal_answer;
}

static const struct names_answer *refuse(struct names *n, const char *error)
{
    n->literal_answer = (struct names_answer){error, NULL, 0};
    return &n->literal_answer;
}

static struct entry *entry_new(struct names *n, struct bytes host)
{
    struct entry *e = calloc(1, sizeof *e + host.n + 1);

    if (!e)
        return NULL;
    e->names = n;
    list_init(&e->waiting);
    list_init(&e->link);
    e->host_n = host.n;
    memcpy(e->host, host.p, host.n);
    if (map_put(&n->entries, bytes_of(e->host, e->host_n), e) == ERR_OK)
        return e;
    free(e);
    return NULL;
}

const struct names_answer *names_ask(struct names *n, const char *host,
                                     struct lookup *l)
{
    static const struct ares_addrinfo_hints hints = {.ai_socktype =
                                                         SOCK_STREAM};
    const struct names_answer *known = literal(n, host);
    struct bytes name = bytes_str(host);

    list_init(&l->link);
    if (known)
        return known;
    if (name.n > NAMES_HOST_MAX)
        return refuse(n, "no such host");
    struct entry *e = map_get(&n->entries, name);
    if (e && !e->asking && uv_now(n->loop) >= e->until_ms) {
        entry_free(e);
        e = NULL;
    }
    if (e && (!e->asking || e->answer.n || e->answer.error))
        return &e->answer;
    if (!e) {
        reload(n);
        while (n->entries.n >= NAMES_KEPT_MAX && !list_empty(&n->kept))
            entry_free(container_of(n->kept.next, struct entry, link));
        e = open_channel(n) ? entry_new(n, name) : NULL;
        if (!e)
            return refuse(n, "out of memory");
        e->asking = true;
        n->asking++;
        ares_getaddrinfo(n->channel, e->host, NULL, &hints, on_answer, e);
        set_timer(n);
        if (!e->asking)
            return &e->answer;
    }
    list_add(&e->waiting, &l->link);
    return NULL;
}

void names_forget(struct lookup *l)
{
    list_del(&l->link);
}

/* --- Life ----------------------------------------------------------------- */

enum err names_new(uv_loop_t *loop, struct timers *timers, struct names **ret)
{
    struct names *n = calloc(1, sizeof *n);

    if (!n)
        return ERR_NOMEM;
    n->loop = loop;
    n->timers = timers;
    n->timer.fire = on_timer;
    list_init(&n->sockets);
    list_init(&n->kept);
    *ret = n;
    return ERR_OK;
}

void names_close(struct names *n)
{
    close_channel(n); /* answers all that is being asked */
    require(n->asking == 0 && list_empty(&n->sockets));
    while (!list_empty(&n->kept))
        entry_free(container_of(n->kept.next, struct entry, link));
    map_fini(&n->entries);
    free(n);
}
