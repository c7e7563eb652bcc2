/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* reload - the configuration's services and checks brought into the agent, at
 * the start and whenever somebody asks for it again (SIGHUP, PUT
 * /v1/agent/reload). Core thread.
 *
 * One at a time, each from its reading to the agent's last answer. Whoever asks
 * meanwhile gets the next one, which reads the files after he asked; all who
 * wait share it, so that a storm of signals is two reloads. What is to go is
 * taken from the agent's snapshot, where each thing knows whether a
 * configuration defined it, and is gone before anything new is registered. */
#ifndef SERVER_RELOAD_H
#define SERVER_RELOAD_H

#include "server/core.h"
#include "server/run.h"

enum reload_step { RELOAD_IDLE, RELOAD_DROP, RELOAD_PUT };

struct reload {
    struct core *core;
    /* Reads the configuration again; the caller's until dropped. */
    enum err (*read)(struct settings **ret, struct errtext *t);
    void (*drop)(struct settings *take);
    void (*changed)(const struct settings *s);

    enum reload_step step;
    bool open;           /* between reload_begin and reload_close */
    bool asked;          /* by a signal */
    struct list waiting; /* struct agent_op: the next one's */
    struct list served;  /* the present one's */
    struct settings *now;
    bool owned; /* now was read by us, not the start's */
    size_t flying;
};

void reload_init(struct reload *r, struct core *c);

/* The agent takes registrations: those of s first, then what was asked for
 * meanwhile. s stays the caller's. */
void reload_begin(struct reload *r, struct settings *s);

/* The process ends: nothing is reloaded any more, who waits is told. */
void reload_close(struct reload *r);

/* take NULL: a signal. Else op->done follows, with status 200 once the agent
 * has all of it, or 500 and what is wrong, with nothing changed. */
void reload_ask(struct reload *r, struct agent_op *take);

#endif
