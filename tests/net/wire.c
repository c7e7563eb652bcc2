/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* wire - a network of hosts on one machine, whose wires are this process: each host
 * is a network namespace with one TUN device, and what it sends to another one's
 * address goes through here, late, lost, cut off or counted as told. For kernels
 * without netem; needs root, /dev/net/tun and nothing else.
 *
 *   wire HOSTS [SEED]          1 to 64 hosts, 10.77.0.1 and up
 *   wire run SPACE COMMAND...  runs it in one of them; it dies with its parent
 *
 * The first says, one line each, "host N ADDRESS SPACE", then "ready"; then it
 * answers each line of its input with one of "ok ..." or "error: ...", and ends,
 * and with it all hosts, at the end of its input:
 *
 *   link FROM TO [RULE=NUMBER ...]   one direction; hosts by number, * is all
 *   count FROM TO                    what that direction has carried
 *   heal                             no rules anywhere
 *
 * Rules that are not named stay as they are. delay_ms, jitter_ms; loss, duplicate,
 * reorder in percent; rate_kbit, queue_kb; cut=1: nothing passes; refuse=PORT: new
 * TCP connections there are reset, as by a firewall. */
#include "hosts.h"
#include "link.h"
#include "reset.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

enum {
    PACKET_MAX = 65536,
    FLYING_BYTES_MAX = 256 << 20, /* more is dropped, as by a full router */
    LINE_MAX_BYTES = 4096,
    TURN = 64, /* packets of one host before the next one's */
};

struct flying {
    uint64_t due_us, number; /* equal times come out as they went in */
    size_t to, bytes;
    unsigned char *data;
};

struct wire {
    struct host hosts[HOSTS_MAX];
    struct link links[HOSTS_MAX][HOSTS_MAX];
    size_t n;
    struct flying *heap; /* the soonest first */
    size_t flying, room, flying_bytes;
    uint64_t number;
    char line[LINE_MAX_BYTES];
    size_t line_bytes;
};

static uint64_t now_us(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * MILLION + (uint64_t)t.tv_nsec / 1000;
}

/* --- What is on its way ------------------------------------------------------- */

static bool sooner(const struct flying *a, const struct flying *b)
{
    return a->due_us < b->due_us ||
           (a->due_us == b->due_us && a->number < b->number);
}

static void swap(struct wire *w, size_t a, size_t b)
{
    struct flying f = w->heap[a];
    w->heap[a] = w->heap[b];
    w->heap[b] = f;
}

static void push(struct wire *w, size_t to, const unsigned char *data,
                 size_t bytes, uint64_t due_us)
{
    if (w->flying_bytes + bytes > FLYING_BYTES_MAX)
        return;
    if (w->flying == w->room) {
        size_t room = w->room * 2 + 64;
        struct flying *heap = realloc(w->heap, room * sizeof *heap);
        if (heap == NULL)
            return;
        w->heap = heap;
        w->room = room;
    }
    unsigned char *copy = malloc(bytes);
    if (copy == NULL)
        return;
    memcpy(copy, data, bytes);
    size_t i = w->flying++;
    w->heap[i] = (struct flying){due_us, w->number++, to, bytes, copy};
    w->flying_bytes += bytes;
    for (; i > 0 && sooner(&w->heap[i], &w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        swap(w, i, (i - 1) / 2);
}

static struct flying pop(struct wire *w)
{
    struct flying first = w->heap[0];
    w->heap[0] = w->heap[--w->flying];
    w->flying_bytes -= first.bytes;
    for (size_t i = 0;;) {
        size_t least = i;
        for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < w->flying; k++)
            least = sooner(&w->heap[k], &w->heap[least]) ? k : least;
        if (least == i)
            return first;
        swap(w, i, least);
        i = least;
    }
}

/* A device that takes nothing now loses the packet, as a full queue does. */
static void put(const struct wire *w, size_t to, const unsigned char *data,
                size_t bytes)
{
    while (write(w->hosts[to].tun, data, bytes) < 0 && errno == EINTR)
        continue;
}

static void deliver(struct wire *w, uint64_t now)
{
    while (w->flying > 0 && w->heap[0].due_us <= now) {
        struct flying f = pop(w);
        put(w, f.to, f.data, f.bytes);
        free(f.data);
    }
}

/* --- What hosts send ---------------------------------------------------------- */

static void carry(struct wire *w, size_t from, const unsigned char *data,
                  size_t bytes, uint64_t now)
{
    if (bytes < 20 || data[0] >> 4 != 4) /* IPv4 alone; RFC 791 3.1 */
        return;
    uint32_t address = (uint32_t)data[16] << 24 | (uint32_t)data[17] << 16 |
                       (uint32_t)data[18] << 8 | data[19];
    size_t to = address - w->hosts[0].address;
    if (to >= w->n || to == from)
        return;
    struct link *l = &w->links[from][to];
    unsigned char answer[RESET_BYTES];
    if (l->rules.refuse != 0 &&
        reset_of(data, bytes, l->rules.refuse, answer)) {
        l->counts.refused++;
        put(w, from, answer, sizeof answer);
        return;
    }
    uint64_t due[2];
    size_t n = link_send(l, bytes, now, due);
    for (size_t i = 0; i < n; i++) {
        if (due[i] <= now && w->flying == 0)
            put(w, to, data, bytes);
        else
            push(w, to, data, bytes, due[i]);
    }
}

static void receive(struct wire *w, size_t from, uint64_t now)
{
    static unsigned char data[PACKET_MAX];
    for (int i = 0; i < TURN; i++) {
        ssize_t n = read(w->hosts[from].tun, data, sizeof data);
        if (n <= 0)
            return;
        carry(w, from, data, (size_t)n, now);
    }
}

/* --- Commands ----------------------------------------------------------------- */

/* The hosts that a word names: [*ret_first, *ret_last). */
static bool which(const struct wire *w, const char *word, size_t *ret_first,
                  size_t *ret_last)
{
    if (word == NULL)
        return false;
    char *end;
    unsigned long n = strtoul(word, &end, 10);
    bool all = strcmp(word, "*") == 0;
    *ret_first = all ? 0 : n - 1;
    *ret_last = all ? w->n : n;
    return all || (*end == 0 && n >= 1 && n <= w->n);
}

static void set_rules(struct wire *w, char **at)
{
    size_t a, b, c, d;
    if (!which(w, strtok_r(NULL, " ", at), &a, &b) ||
        !which(w, strtok_r(NULL, " ", at), &c, &d)) {
        printf("error: link FROM TO: 1 to %zu, or *\n", w->n);
        return;
    }
    char *rules = *at;
    for (size_t from = a; from < b; from++) {
        for (size_t to = c; to < d; to++) {
            char text[LINE_MAX_BYTES], *next;
            snprintf(text, sizeof text, "%s", rules);
            struct rules r = w->links[from][to].rules;
            for (char *rule = strtok_r(text, " ", &next); rule != NULL;
                 rule = strtok_r(NULL, " ", &next)) {
                const char *wrong = link_rule(&r, rule);
                if (wrong != NULL) {
                    printf("error: %s: %s\n", rule, wrong);
                    return;
                }
            }
            w->links[from][to].rules = r;
        }
    }
    printf("ok\n");
}

static void add(struct counts *sum, const struct counts *c)
{
    sum->packets += c->packets;
    sum->bytes += c->bytes;
    sum->passed += c->passed;
    sum->passed_bytes += c->passed_bytes;
    sum->lost += c->lost;
    sum->cut += c->cut;
    sum->full += c->full;
    sum->duplicated += c->duplicated;
    sum->reordered += c->reordered;
    sum->refused += c->refused;
}

static void tell_counts(const struct wire *w, char **at)
{
    size_t a, b, c, d;
    if (!which(w, strtok_r(NULL, " ", at), &a, &b) ||
        !which(w, strtok_r(NULL, " ", at), &c, &d)) {
        printf("error: count FROM TO: 1 to %zu, or *\n", w->n);
        return;
    }
    struct counts s = {0};
    for (size_t from = a; from < b; from++)
        for (size_t to = c; to < d; to++)
            add(&s, &w->links[from][to].counts);
    printf("ok packets=%" PRIu64 " bytes=%" PRIu64 " passed=%" PRIu64
           " passed_bytes=%" PRIu64 " lost=%" PRIu64 " cut=%" PRIu64
           " full=%" PRIu64 " duplicated=%" PRIu64 " reordered=%" PRIu64
           " refused=%" PRIu64 "\n",
           s.packets, s.bytes, s.passed, s.passed_bytes, s.lost, s.cut, s.full,
           s.duplicated, s.reordered, s.refused);
}

static void obey(struct wire *w, char *line)
{
    char *at, *word = strtok_r(line, " ", &at);
    if (word != NULL && strcmp(word, "link") == 0) {
        set_rules(w, &at);
    } else if (word != NULL && strcmp(word, "count") == 0) {
        tell_counts(w, &at);
    } else if (word != NULL && strcmp(word, "heal") == 0) {
        for (size_t i = 0; i < w->n; i++)
            for (size_t k = 0; k < w->n; k++)
                w->links[i][k].rules = (struct rules){0};
        printf("ok\n");
    } else {
        printf("error: one of link, count, heal is meant\n");
    }
}

/* False at the end of the input, or if a line is too long. */
static bool listen_to(struct wire *w)
{
    ssize_t n = read(STDIN_FILENO, w->line + w->line_bytes,
                     sizeof w->line - 1 - w->line_bytes);
    if (n <= 0)
        return n < 0 && errno == EINTR;
    w->line_bytes += (size_t)n;
    char *end;
    while ((end = memchr(w->line, '\n', w->line_bytes)) != NULL) {
        *end = 0;
        size_t used = (size_t)(end + 1 - w->line);
        obey(w, w->line);
        w->line_bytes -= used;
        memmove(w->line, end + 1, w->line_bytes);
    }
    return w->line_bytes < sizeof w->line - 1;
}

static void go_on(struct wire *w)
{
    struct pollfd fds[HOSTS_MAX + 1] = {{.fd = STDIN_FILENO, .events = POLLIN}};
    for (size_t i = 0; i < w->n; i++)
        fds[i + 1] = (struct pollfd){.fd = w->hosts[i].tun, .events = POLLIN};
    for (;;) {
        uint64_t now = now_us();
        deliver(w, now);
        struct timespec wait = {.tv_sec = 3600};
        if (w->flying > 0) {
            uint64_t due = w->heap[0].due_us;
            uint64_t us = due > now ? due - now : 0;
            wait = (struct timespec){(time_t)(us / MILLION),
                                     (long)(us % MILLION * 1000)};
        }
        if (ppoll(fds, w->n + 1, &wait, NULL) < 0 && errno != EINTR)
            return;
        now = now_us();
        for (size_t i = 0; i < w->n; i++)
            if (fds[i + 1].revents != 0)
                receive(w, i, now);
        if (fds[0].revents != 0 && !listen_to(w))
            return;
    }
}

static int failed(const char *what)
{
    fprintf(stderr, "wire: %s: %s\n", what, strerror(errno));
    return 1;
}

int main(int argc, char **argv)
{
    if (argc >= 4 && strcmp(argv[1], "run") == 0)
        return failed(hosts_run(argv[2], argv + 3));
    unsigned long n = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    if (n < 1 || n > HOSTS_MAX || argc > 3) {
        fprintf(stderr,
                "wire: wire HOSTS [SEED], 1 to %d hosts; or: wire run "
                "SPACE COMMAND...\n",
                HOSTS_MAX);
        return 2;
    }
    uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    static struct wire w;
    setvbuf(stdout, NULL, _IOLBF, 0);
    for (w.n = 0; w.n < n; w.n++) {
        const char *wrong = hosts_make(&w.hosts[w.n], (uint32_t)w.n + 1);
        if (wrong != NULL)
            return failed(wrong);
        printf("host %zu 10.77.0.%zu /proc/%d/fd/%d\n", w.n + 1, w.n + 1,
               (int)getpid(), w.hosts[w.n].space);
    }
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < n; k++)
            link_init(&w.links[i][k], seed * 0x9e3779b97f4a7c15u + i * n + k);
    printf("ready\n");
    go_on(&w);
    return 0;
}
