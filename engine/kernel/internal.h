/* What the files of kernel/ share. */
#ifndef MARE_KERNEL_INTERNAL_H
#define MARE_KERNEL_INTERNAL_H

#include "base/arena.h"
#include "base/map.h"
#include "base/text.h"
#include "kernel/kernel.h"
#include "kernel/tune.h"

#include <stdatomic.h>

struct kernels {
    dev_device *d; /* null: compiles only */
    mare_error *e;
    arena mem;
    map modules;   /* hash of shader and defines -> module, chained */
    map pipelines; /* hash of the whole id -> pipeline_entry, chained */
    uint64_t made, tuned;
    atomic_uint_fast64_t compiled, from_disk; /* worker threads compile too */
    char dir[3072];                           /* the cache folder; "": none */
    tuner tune;
};

/* ---- preprocess.c */

/* The whole GLSL text of id: #version, the defines, the shader with its includes in place. #line
 * directives name every part, so that the compiler's errors do. */
mare_status source_expand(const kernel_id *id, text *out, mare_error *e);

/* ---- compile.c */

/* GLSL to SPIR-V; *words is malloc'ed. Safe from any thread. */
mare_status compile_glsl(const char *name, const char *source, uint32_t **words, size_t *count,
                         mare_error *e);
/* Names the compiler, its version and its settings. Part of every text that is compiled, and so of
 * every key of the cache. */
const char *compile_version(void);

/* ---- cache.c: entries are files <dir>/<kind>-<key>, each with a header that tells torn, foreign
 * and exchanged files from good ones. A dir of "" holds nothing. */

/* malloc'ed contents; false when there is no such entry or it is not whole. */
bool cache_read(const char *dir, const char *kind, const char *key, void **data, size_t *len);
/* Best effort: an entry that cannot be written is written another time. */
void cache_write(const char *dir, const char *kind, const char *key, const void *data, size_t len);

#endif
