/* SPDX-FileCopyrightText: The muster authors
 * SPDX-License-Identifier: Apache-2.0 */

/* A program may end without closing its handles. Then OpenSSL takes itself down
 * while their threads still encrypt, which ends in a crash now and then. So they
 * are stopped first: handlers of atexit run in the opposite order, and ours comes
 * after OpenSSL's. A thread that a callback of the program's keeps is not waited
 * for longer than STOP_S. */
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "client/impl.h"

enum { STOP_S = 1 };

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static struct list threads = {&threads, &threads};

static void stop_run(struct muster *m, struct call *c)
{
    (void)c;
    uv_stop(&m->loop);
}

static void stop(struct muster *m)
{
    struct timespec until;

    if (handle_check(m) != MUSTER_OK || handle_is_here(m))
        return;
    m->stop.run = stop_run;
    if (sem_init(&m->stop.done, 0, 0) != 0 ||
        queue_push(m->calls, &m->stop.link) != ERR_OK)
        return;
    (void)clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += STOP_S;
    if (pthread_timedjoin_np(m->thread, NULL, &until) == 0)
        atomic_store(&m->stopped, true);
}

static void stop_all(void)
{
    pthread_mutex_lock(&mutex);
    list_each (it, &threads)
        stop(container_of(it, struct muster, threads));
    pthread_mutex_unlock(&mutex);
}

void exit_prepare(void)
{
    if (OPENSSL_init_ssl(0, NULL) == 1)
        (void)atexit(stop_all);
}

void exit_watch(struct muster *m)
{
    pthread_mutex_lock(&mutex);
    list_add(&threads, &m->threads);
    pthread_mutex_unlock(&mutex);
}

void exit_forget(struct muster *m)
{
    pthread_mutex_lock(&mutex);
    list_del(&m->threads);
    pthread_mutex_unlock(&mutex);
}

void exit_lock(void)
{
    pthread_mutex_lock(&mutex);
}

void exit_unlock(void)
{
    pthread_mutex_unlock(&mutex);
}
