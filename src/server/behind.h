/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* behind - whoever reads through somebody else: at an agent, or at a server of
 * another datacenter that mirrors this one. To the server it is one stream; what
 * stands behind that it says itself, each beat if anything is new:
 *
 *   PUT /v1/peer/behind
 *     {"Subscriber":"c475...",        its stream
 *      "Index":4711,                  it has this, and so has everybody there,
 *      "Behind":[{"Subscriber":...,"Label":...,"Zone":...,"Peer":...,
 *                 "Target":...,"Service":"web","Stream":true,"Connected":true,
 *                 "Applied":4700,"Sent":4711,"HeardMs":5},...],   but for these
 *      "Agent":"app-1",               how it calls itself
 *      "Readers":[{"Service":"web","Peer":"10.0.0.7","HeardMs":5},...]
 *                                     who read without saying what they have
 *      "LostMs":5,                    when more did than it remembers; 0: never
 *      "UnknownMs":0,                 until it knows of all
 *      "Dns":[{"Service":"web","TtlMs":5000},...]}  for how long what it says
 *                                     may be kept; no service: of any
 *
 * Index 0 acknowledges nothing. Behind and Dns are all there are, Readers those
 * heard of since the last one that was taken (200). 409: no such stream, or an
 * index that it was never sent. 429: there is no room for the rows; whoever says
 * all again later has not lost anything. */
#ifndef SERVER_BEHIND_H
#define SERVER_BEHIND_H

#include "base/arena.h"
#include "base/buf.h"
#include "server/process.h"

enum {
    BEHIND_ROWS_MAX = 512,  /* of one; if there are more it has not applied the
                              index itself */
    BEHIND_ALL_MAX = 65536, /* of all in one table */
    BEHIND_READERS_MAX = 4096, /* of one message: as many as are remembered */
    BEHIND_DNS_MAX = 128,
    BEHIND_BYTES_MAX = 768 << 10, /* of one message */
    BEHIND_TEXT_MAX = 512,        /* bytes of a target; longer ones are cut */
    BEHIND_GAP_MS = 100,          /* between two, while some are behind */
    BEHIND_SOON_MS = 20,          /* after a change */
    BEHIND_EVERY_MS = 1000,       /* between two that only say an index */
};

/* Texts end with NUL. */
struct behind_row {
    struct bytes id, label, zone, peer, target, service;
    bool stream, connected;
    uint64_t applied, sent;
    uint64_t seen_ms; /* monotonic; in a message: ago */
};

struct behind_dns {
    struct bytes service;
    uint64_t ttl_ms;
};

struct behind_reader {
    struct bytes service, peer;
    uint64_t seen_ms; /* ago */
};

struct behind {
    struct bytes subscriber, agent;
    uint64_t index, unknown_ms, lost_ms;
    struct behind_row *rows;
    struct behind_dns *dns;
    struct behind_reader *readers;
    size_t row_count, dns_count, reader_count;
    bool late; /* some of the rows may catch up soon; not in the message */
};

/* --- Messages (behind.c; pure) ------------------------------------------- */

/* Texts are views of text, or in the arena. ERR_BAD, ERR_LIMIT: t says why. */
MUST_USE enum err behind_read(struct bytes text, struct arena *a,
                              struct behind *ret, struct errtext *t);

void behind_write(struct buf *out, const struct behind *b);

/* What was said on this stream, and taken; and what is being said. */
struct behind_said {
    struct behind_words {
        uint64_t index, hash;
        uint64_t since_ms; /* readers heard of since then are to be said */
        bool unknown;      /* that not all are known */
    } taken, saying;
};

bool behind_is_new(const struct behind_said *s, const struct behind *b);

/* Writes it, or if it is longer than BEHIND_BYTES_MAX that there are more than
 * can be said. since_ms: a moment before it was collected. */
void behind_say(struct behind_said *s, const struct behind *b,
                uint64_t since_ms, struct buf *out);

/* Not taken: all is to be said again. */
void behind_heard(struct behind_said *s, bool taken);

/* The same as long as nothing but ages changes in rows and DNS. */
uint64_t behind_hash(const struct behind *b);

#endif
