/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */
/* impl - what the parts of the agent share. All on the core thread, except the
 * two callbacks of the stores, which only put a letter into the inbox.
 *
 *     agent.c   life, inbox, clock, publishing
 *     job.c     an op from submission to answer; one at a time per service
 *     ops.c     what each op means: refusal, or a change of agent.db
 *     sidecar.c proxies that come and go with a service
 *     tagged.c  a service's tagged addresses
 *     check.c   running checks: what happens to them and what follows from it
 *     state.c   their stored states
 *     alias.c   alias checks
 *     sync.c    differences to the catalog, one at a time per service
 *     scan.c    anti-entropy, reaper
 *     reap.c    what the reaper asks the guard for */
#ifndef AGENT_IMPL_H
#define AGENT_IMPL_H

#include "agent/agent.h"
#include "base/alloc.h"
#include "base/arena.h"
#include "base/check.h"
#include "base/list.h"
#include "base/log.h"
#include "base/map.h"
#include "base/metric.h"
#include "catalog/wish.h"
#include "health/judge.h"
#include "health/witness.h"
#include "local/record.h"
#include "loop/queue.h"

/* --- Inbox --------------------------------------------------------------- */

enum letter_kind {
    LETTER_BATCH,  /* agent.db's feed */
    LETTER_JOB,    /* agent.db's outcome of a job */
    LETTER_STATE,  /* agent.db's outcome of a state written by itself */
    LETTER_SYNC,   /* the catalog's outcome of a difference */
    LETTER_REAPED, /* the catalog's outcome of a removal by silence */
    LETTER_SETTLE, /* nothing but a turn */
};

struct letter {
    struct list link;
    enum letter_kind kind;
};

/* --- Deadlines ----------------------------------------------------------- */

struct deadline {
    struct heap_item item;
    void (*fire)(struct agent *a, struct deadline *d);
};

/* --- Jobs ---------------------------------------------------------------- */

/* Who changes one service: jobs of the same lane wait for each other until
 * agent.db has answered, because each is decided on the local snapshot. */
struct lane {
    struct list waiting; /* of job.link */
    size_t key_n;
    char key[];
};

struct job {
    struct agent *agent;
    struct agent_op *op;
    struct lane *lane; /* NULL: not in one any more */
    struct list link; /* lane.waiting, agent.before_load, item.waiting/flying */
    struct arena arena;
    struct store_change change;
    struct store_guard *guards;
    struct store_op *ops;
    size_t guard_cap, op_cap;
    struct store_outcome outcome;
    struct letter letter;
    struct deadline timeout;
    unsigned attempts;
    bool at_store; /* agent.db has it */
};

/* --- Checks -------------------------------------------------------------- */

struct running {
    struct agent *agent;
    uint64_t generation;
    uint64_t def_hash;
    enum check_type type;
    struct run run;
    struct witness_check witness;
    uint64_t reap_ms;       /* 0: never */
    uint64_t since_wall_ms; /* its status; 0: unknown */
    uint64_t stored_ms;     /* its state, last; 0: not in this process */
    const struct job *word; /* a client's, on its way to agent.db */
    bool flapping, damped;  /* as counted in the metrics */
    struct deadline due;    /* run_time */
    struct deadline lazy;   /* output or beat to be written */
    struct list alias_link; /* alias checks */
    uint64_t alias_index[2];
    bool lazy_catalog; /* the catalog's output is old */
    size_t id_n;
    char id[]; /* folded */
};

/* What the last process left of it. */
struct restored {
    struct run_past past; /* without down_ms */
    uint64_t written_ms;  /* by the clock of the boot; 0: unknown */
    uint64_t since_wall_ms;
    size_t id_n;
    char id[];
};

/* --- Differences --------------------------------------------------------- */

enum sync_kind { SYNC_SERVICE = 's', SYNC_CHECK = 'c', SYNC_NODE = 'n' };

enum item_state {
    ITEM_READY,    /* to be planned */
    ITEM_FLYING,   /* the store has it */
    ITEM_AWAITING, /* until the catalog shows `revision` */
    ITEM_BLOCKED,  /* until the store works again, or a pause is over */
};

/* One service (with its checks), one check of the node, or the node: what
 * differs is planned and committed, over and over until nothing differs. */
struct item {
    struct agent *agent;
    enum item_state state;
    bool again; /* changed since it was planned */
    bool with_output;
    bool output_planned;
    bool replan;  /* AWAITING: the plan did not get in, or is not all */
    bool refused; /* the catalog will never take it as it is */
    unsigned attempts;
    uint64_t revision;
    struct list link;    /* in the list of its state (FLYING: none) */
    struct list waiting; /* jobs that the next plan serves */
    struct list flying;  /* jobs that the plan under way serves */
    struct arena arena;
    struct plan plan;
    struct store_change change;
    struct store_outcome outcome;
    struct letter letter;
    size_t key_n;
    char key[]; /* kind, folded ID */
};

enum { OWN_REVISIONS = 1024, SUSPECTS_MAX = 64 };

struct agent {
    struct agent_options o;
    char *boot_id;
    struct store *store;
    struct queue *inbox;
    struct letter settle_letter;
    bool settle_queued, in_turn;
    bool loaded;        /* agent.db has been read */
    bool catalog_ready; /* the catalog has been read */
    bool closing;

    struct heap due;
    struct timer timer;

    struct map lanes;
    struct list before_load; /* jobs */
    struct list runnable;    /* jobs whose lane has become free */
    bool running_jobs;
    size_t jobs;

    struct witness witness;
    uint64_t lag_told_ms;
    struct map checks;   /* struct running by folded ID */
    struct map restored; /* until the checks are started */
    struct buf touched;  /* IDs (lp) whose definition changed */
    struct list aliases;
    bool alias_due;
    struct deadline alias;
    uint64_t generation;
    uint64_t output_tokens, output_tokens_ms;

    size_t sidecars_under_way;
    int64_t sidecar_port; /* the last one given */

    struct map items;
    struct list ready, awaiting, blocked;
    struct item *counting; /* its plan under way counts in a guard record */
    struct list counters;  /* items whose plan would too */
    size_t flying;
    bool catalog_down;
    uint64_t catalog_revision; /* the last that was published */
    uint64_t retry_ms;
    struct deadline retry;
    uv_sem_t landed; /* once per outcome of the catalog's store */
    uint64_t own_revisions[OWN_REVISIONS]; /* a ring */
    size_t own_revision_at;

    struct local_scan scan;
    struct deadline scan_step, repair, reap;
    struct reaping *reaping; /* of the look under way */
    bool scanning, scanned, rescan;
    uint64_t suspects[SUSPECTS_MAX]; /* revisions that changed the own node */
    size_t suspect_n;
};

/* --- agent.c ------------------------------------------------------------- */

uint64_t agent_now(const struct agent *a);
uint64_t agent_boot_now(const struct agent *a);
uint64_t agent_wall_now(const struct agent *a);
void agent_wake(struct agent *a);                   /* a turn soon */
void agent_post(struct agent *a, struct letter *l); /* any thread */
void deadline_set(struct agent *a, struct deadline *d, uint64_t delay_ms);
void deadline_clear(struct agent *a, struct deadline *d);

/* Commits the local snapshot, tells its readers, starts and stops checks. */
void agent_publish(struct agent *a);

/* kind, folded ID, as heap memory. */
char *agent_key(char kind, struct bytes id, size_t *ret_n);

/* --- job.c --------------------------------------------------------------- */

void jobs_loaded(struct agent *a); /* starts what waited for the load */
void job_stored(struct job *j);    /* agent.db has answered */
void job_sync(struct job *j, enum sync_kind kind, struct bytes id);
/* Leaves its lane (the next one may begin at once) and is answered. */
void job_finish(struct job *j, int status, const char *text);

/* Gone afterwards. */
void job_answer(struct job *j, int status, bool pending, const char *fmt, ...)
    PRINTF_LIKE(4, 5);
void job_guard(struct job *j, enum store_guard_kind kind,
               enum local_key_kind key, struct bytes id);
void job_put(struct job *j, enum local_key_kind key, struct bytes id,
             struct bytes take_value); /* in the job's arena */
void job_delete(struct job *j, enum local_key_kind key, struct bytes id);

/* --- ops.c --------------------------------------------------------------- */

/* The lane's key of an op. */
void op_lane(struct agent *a, const struct agent_op *op, struct buf *out);

/* Adds to the job's change what the op means on the current snapshot. False: it
 * has been answered. */
bool op_plan(struct job *j);

/* It leaves its lane: agent.db has answered. */
void op_left(const struct job *j);

/* agent.db has it (or there was nothing for it): the rest. Sends the job to
 * sync.c, or answers it. */
void op_stored(struct job *j);

/* A service is gone for having been critical too long. */
void op_reap(struct agent *a, struct bytes service_id);

/* reap.c. Nobody was heard of for too long: each is asked for, then all those that
 * may go are taken out of the catalog, and then here. */
void reap_silent(struct agent *a, struct bytes service_id);
void reap_submit(struct agent *a);
void reap_answered(struct letter *l);

/* The catalog's tags become ours (EnableTagOverride). */
void op_adopt_tags(struct agent *a, const struct local_service *v,
                   struct packed tags);

/* --- register.c ---------------------------------------------------------- */

bool plan_register_service(struct job *j);
bool plan_register_check(struct job *j);
void plan_check_removal(struct job *j, const struct local_check *k);
void register_config(struct job *j);

/* --- sidecar.c ----------------------------------------------------------- */

/* What else the op brings about; false: there is no port left. */
bool sidecar_prepare(struct agent *a, struct agent_op *op);

/* The op's own part is done: the rest of it, then op->done. */
void sidecar_finish(struct agent *a, struct agent_op *op);

/* --- tagged.c ------------------------------------------------------------ */

/* The tagged addresses with those that follow from the address
 * (consul-api 1.1.3, side effects), in the arena. */
struct packed tagged_with_defaults(const struct service_view *v,
                                   struct arena *a);

/* --- check.c ------------------------------------------------------------- */

struct running *running_find(const struct agent *a, struct bytes id);

/* The check was put or removed. */
void running_refresh(struct agent *a, struct bytes id);
void running_free_all(struct agent *a);

struct bytes running_id(const struct running *r);

/* A client's word on a TTL check. durable: agent.db has it already. */
void running_told(struct running *r, enum status status, struct bytes output,
                  bool durable);
/* What would be stored of it then. */
void running_told_state(const struct running *r, enum status status,
                        struct bytes output, struct buf *out);
void running_beat(struct running *r);

/* An alias; true: its status or cause is another one now. */
bool running_follow(struct running *r, enum status status,
                    enum check_cause cause, struct bytes output);

/* The service was registered (again): its checks, and what it says of them. */
void running_again(struct agent *a, struct bytes service_id);

/* Other limits of damping, of all. */
void running_rules_changed(struct agent *a);

/* Clean end: TTLs as they stand. */
void running_write_beats(struct agent *a);

/* --- state.c ------------------------------------------------------------- */

/* What is stored of it, with that output. */
void state_put(const struct running *r, const struct run *run,
               struct bytes output, struct buf *out);
void state_write(struct running *r, const struct local_check *k,
                 struct bytes output);
void state_stored(struct letter *l);

/* Its output or beat is to be written some time, within the budget. */
void state_init(struct running *r);
void state_lazily(struct running *r, uint64_t delay_ms);
/* A client's word has just been stored, and its beat with it. */
void state_by_word(struct running *r);

/* From agent.db's load. */
void state_restore(struct agent *a, struct bytes id,
                   const struct local_state *s);
void state_log_restored(const struct agent *a);

/* The past of a check that starts, as of now. */
struct run_past state_past(const struct agent *a, const struct restored *t);

/* --- alias.c ------------------------------------------------------------- */

void aliases_start(struct agent *a);
void aliases_evaluate(struct agent *a);
void aliases_catalog_changed(struct agent *a);

/* --- sync.c -------------------------------------------------------------- */

struct item *sync_touch(struct agent *a, enum sync_kind kind, struct bytes id,
                        bool with_output);
/* The service's difference, or that of a check of the node. */
struct item *sync_touch_check(struct agent *a, const struct local_check *k,
                              bool with_output);
bool sync_busy(const struct agent *a, enum sync_kind kind, struct bytes id);
void sync_start(struct agent *a);
void sync_run(struct agent *a); /* plans what is ready */
void sync_answered(struct item *i);
void sync_catalog_published(struct agent *a);
void sync_free_all(struct agent *a);

/* A plan to be made for the catalog, and its change to be committed. */
void sync_plan_init(struct agent *a, struct plan *p, struct arena *arena);
enum err sync_submit(struct agent *a, struct store_change *c,
                     struct errtext *t);

/* --- scan.c -------------------------------------------------------------- */

void scan_start(struct agent *a);
void scan_own_node_changed(struct agent *a);

#endif
