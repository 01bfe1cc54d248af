/* What the files of kernel/ share. */
#ifndef MARE_KERNEL_INTERNAL_H
#define MARE_KERNEL_INTERNAL_H

#include "base/arena.h"
#include "base/map.h"
#include "base/text.h"
#include "base/thread.h"
#include "kernel/kernel.h"
#include "kernel/tune.h"

#include <stdatomic.h>

struct kernels {
    dev_device *d; /* null: compiles only */
    mare_error *e;
    arena mem;
    map modules;   /* hash of shader and defines -> module, chained */
    map pipelines; /* hash of the whole id -> pipeline_entry, chained */
    uint64_t tuned;
    atomic_uint_fast64_t compiled, from_disk; /* worker threads compile too */
    char dir[3072];                           /* the cache folder; "": none */
    void (*dump)(void *user, const char *text);
    void *dump_user;
    tuner tune;
    kernel_peaks peaks; /* 0: not measured yet */

    thread_pool *workers; /* null until there is work for them */
    pthread_mutex_t lock; /* over the state of modules and pipelines, and what follows */
    pthread_cond_t moved; /* a state or a count changed */
    int jobs;             /* pipelines that workers shall make or are making */
    bool ending;          /* jobs not begun are dropped */
    bool saving;          /* a worker shall write, or writes, the pipelines to disk */
    uint64_t made, saved; /* pipelines; and how many of them are on disk */
};

/* ---- preprocess.c */

/* The whole GLSL text of id: #version, the defines, the shader with its includes in place. #line
 * directives name every part, so that the compiler's errors do. */
mare_status source_expand(const kernel_id *id, text *out, mare_error *e);

/* ---- dump.c: shows a kernel whose pipeline was made; the whole text, or its constants alone. */

void kernel_dump(kernels *k, const kernel_id *id, bool whole);

/* ---- compile.c */

/* GLSL to SPIR-V; *words is malloc'ed. Safe from any thread. */
mare_status compile_glsl(const char *name, const char *source, uint32_t **words, size_t *count,
                         mare_error *e);
/* Names the compiler, its version and its settings. Part of every text that is compiled, and so of
 * every key of the cache. */
const char *compile_version(void);

/* ---- kernel.c */

/* Threads to work for k, started when they are first asked for; null when there can be none. */
thread_pool *kernels_workers(kernels *k);
/* Waits until the workers have made all that was handed to them. */
void kernels_settle(kernels *k);

/* ---- pipelines.c: the driver's pipelines on disk */

void pipelines_load(kernels *k);
/* Adds those that were made since the last time to what is on disk, whoever wrote it. */
void pipelines_save(kernels *k);
/* Has a worker do that when enough were made and none is being made; call with the lock held. */
void pipelines_save_later(kernels *k);

/* ---- cache.c: entries are files <dir>/<kind>-<hash of the id>. Each holds its whole id, so that
 * two with the same hash are not taken for one another, and a header that tells torn and foreign
 * files from good ones. A dir of "" holds nothing. Safe from any thread and process. */

/* malloc'ed contents; false when there is no such entry or it is not whole. */
bool cache_read(const char *dir, const char *kind, const text *id, void **data, size_t *len);
/* Best effort: an entry that cannot be written is written another time. */
void cache_write(const char *dir, const char *kind, const text *id, const void *data, size_t len);
/* Takes away what processes left that were killed while they wrote; and where compiled shaders take
 * more than so many bytes, those that were used the longest ago, until a quarter is free. */
enum { CACHE_SPIRV = 256 << 20 };
void cache_sweep(const char *dir, uint64_t most);

#endif
