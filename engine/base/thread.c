#define _GNU_SOURCE
#include "base/thread.h"

#include "base/vec.h"

#include <sched.h>
#include <signal.h>
#include <unistd.h>

typedef struct job {
    thread_job run;
    void *arg;
} job;

struct thread_pool {
    pthread_mutex_t lock;
    pthread_cond_t more;
    VEC(job) jobs; /* taken from `head` */
    size_t head;
    bool ending;
    int n;
    pthread_t threads[];
};

static void *work(void *arg) {
    thread_pool *p = arg;
    pthread_mutex_lock(&p->lock);
    for (;;) {
        while (p->head == p->jobs.len && !p->ending)
            pthread_cond_wait(&p->more, &p->lock);
        if (p->head == p->jobs.len) break;
        job j = p->jobs.data[p->head++];
        if (p->head == p->jobs.len) p->head = p->jobs.len = 0;
        pthread_mutex_unlock(&p->lock);
        j.run(j.arg);
        pthread_mutex_lock(&p->lock);
    }
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

mare_status thread_pool_create(int n, thread_pool **out, mare_error *e) {
    if (n < 1) n = 1;
    size_t bytes = sizeof(thread_pool) + (size_t)n * sizeof(pthread_t);
    thread_pool *p = calloc(1, bytes);
    if (!p) return error_no_memory(e, bytes);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->more, NULL);
    /* Signals are for the threads that the program made itself. */
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    while (p->n < n && pthread_create(&p->threads[p->n], NULL, work, p) == 0)
        p->n++;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!p->n) { /* fewer than asked for still do the work */
        thread_pool_destroy(p);
        return error_set(e, MARE_E_HOST_MEMORY, "cannot start a worker thread");
    }
    *out = p;
    return MARE_OK;
}

bool thread_pool_add(thread_pool *p, thread_job run, void *arg) {
    pthread_mutex_lock(&p->lock);
    bool ok = vec_push(&p->jobs, (job){run, arg});
    pthread_cond_signal(&p->more);
    pthread_mutex_unlock(&p->lock);
    return ok;
}

void thread_pool_destroy(thread_pool *p) {
    if (!p) return;
    pthread_mutex_lock(&p->lock);
    p->ending = true;
    pthread_cond_broadcast(&p->more);
    pthread_mutex_unlock(&p->lock);
    for (int i = 0; i < p->n; i++)
        pthread_join(p->threads[i], NULL);
    pthread_cond_destroy(&p->more);
    pthread_mutex_destroy(&p->lock);
    vec_free(&p->jobs);
    free(p);
}

int thread_count(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}
