/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* register - what the files of a registration share. Internal.
 *
 * register.c       what is asked, and what the answers mean
 * register_body.c  the bodies of its requests
 * register_call.c  what the program calls */
#ifndef CLIENT_REGISTER_H
#define CLIENT_REGISTER_H

#include "client/request.h"

enum {
    BEATS_MIN_MS = 1000,      /* ttl_ms of a registration at an agent */
    OUTSIDE_MIN_MS = 5000,    /* without one: muster's least time to live */
    REGISTER_TEXT_MAX = 8192, /* bytes of all names, addresses and tags */
    REGISTER_BODY_MAX = 64 * 1024, /* those, six times as long when escaped */
};

#define REGISTRATION_MAGIC 0x72656769u

enum registration_state {
    REGISTER_WANTED,
    REGISTER_STANDS,
    REGISTER_REFUSED,
    REGISTER_LEAVING,
    REGISTER_LEFT
};

/* The request under way. */
enum registration_step { STEP_ASK_WHO, STEP_REGISTER, STEP_BEAT, STEP_LEAVE };

struct muster_registration {
    struct kept kept;
    struct list link;
    struct muster *m;
    struct request request;
    struct timer timer;
    bool outside; /* without an agent: at whichever server answers */
    struct muster_register_options o; /* copies: texts below */
    char *text;                       /* of o, all in one block */
    char *register_target, *beat_target, *leave_target;
    struct buf body;
    uint32_t again_ms;
    size_t server, failed_in_row; /* outside: which is asked */
    bool is_muster;               /* outside: that one has said so */
    enum registration_step step;
    enum muster_health health, told; /* told: by the last request */
    _Atomic int state;
    _Atomic bool unheard; /* LEFT, but nobody took the goodbye */
    int fd; /* eventfd: readable when it stands, is refused, or has left */
    pthread_mutex_t text_mutex;
    char why[MUSTER_TEXT];
};

/* --- register_body.c ----------------------------------------------------- */

/* All append to b, which may turn bad. */
void register_put_body(struct buf *b, const struct muster_registration *r);
void register_put_beat(struct buf *b, const struct muster_registration *r);
void register_put_leave(struct buf *b, const struct muster_registration *r);

/* --- register.c ---------------------------------------------------------- */

/* All on the handle's loop. */
void register_begin(struct muster_registration *r);
void register_health(struct muster_registration *r, enum muster_health health);
void register_leave(struct muster_registration *r);
void register_free(struct muster_registration *take_r);

#endif
