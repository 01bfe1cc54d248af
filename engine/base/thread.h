/* Worker threads with a bounded queue of jobs. */
#ifndef MARE_BASE_THREAD_H
#define MARE_BASE_THREAD_H

#include "base/status.h"

#include <pthread.h>

typedef struct thread_pool thread_pool;
typedef void (*thread_job)(void *arg);

/* Starts n threads (at least 1). */
mare_status thread_pool_create(int n, thread_pool **out, mare_error *e);
/* Queues job(arg); false when the host has no memory left (the job was not queued). */
bool thread_pool_add(thread_pool *p, thread_job job, void *arg);
/* Waits for every queued job, then ends the threads. Null is allowed. */
void thread_pool_destroy(thread_pool *p);
/* Processors that this process may use, at least 1. */
int thread_count(void);

#endif
