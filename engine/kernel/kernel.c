#include "kernel/internal.h"

#include "base/file.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPIRV_MAGIC = 0x07230203, SPIRV_HEADER = 5, MOST_WORKERS = 8 };

/* How far something is that one thread makes and others may wait for. */
typedef enum progress { ABSENT, QUEUED, WORKING, READY } progress;

/* SPIR-V of a shader with its defines; several pipelines differ in the constants alone. */
typedef struct module {
    const char *shader, *defines, *text;
    progress at;
    bool shown; /* kernels_set_dump() */
    uint32_t *words;
    size_t count;
    struct module *next; /* of the same hash */
} module;

typedef struct pipeline_entry {
    kernels *k;
    kernel_id id;
    module *module;
    progress at;
    bool shown;
    dev_pipeline *pipeline;
    struct pipeline_entry *next; /* of the same hash */
} pipeline_entry;

static mare_status set_policy(kernels *k, const char *words) {
    mare_tuning when;
    double budget;
    mare_status status = tune_parse_policy(words, &when, &budget, k->e);
    if (status) return error_prefix(k->e, "MARE_TUNE");
    tune_set_policy(k, when, budget);
    return MARE_OK;
}

mare_status kernels_create(dev_device *d, mare_error *e, kernels **out) {
    kernels *k = calloc(1, sizeof *k);
    if (!k) return error_no_memory(e, sizeof *k);
    k->d = d;
    k->e = e;
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->moved, NULL);
    file_cache_dir(k->dir, sizeof k->dir);
    k->tune.clock = dev_clock;
    tune_set_policy(k, MARE_TUNING_FIRST_USE, -1);
    const char *when = getenv("MARE_TUNE");
    mare_status status = when && *when ? set_policy(k, when) : MARE_OK;
    if (status) {
        kernels_destroy(k);
        return status;
    }
    if (d) pipelines_load(k);
    *out = k;
    return MARE_OK;
}

thread_pool *kernels_workers(kernels *k) {
    int n = thread_count();
    if (!k->workers) thread_pool_create(n < MOST_WORKERS ? n : MOST_WORKERS, &k->workers, NULL);
    return k->workers;
}

void kernels_settle(kernels *k) {
    pthread_mutex_lock(&k->lock);
    while (k->jobs)
        pthread_cond_wait(&k->moved, &k->lock);
    pthread_mutex_unlock(&k->lock);
}

void kernels_destroy(kernels *k) {
    if (!k) return;
    pthread_mutex_lock(&k->lock);
    k->ending = true;
    pthread_mutex_unlock(&k->lock);
    thread_pool_destroy(k->workers);
    if (k->d) dev_wait(k->d); /* pipelines may be in use */
    pipelines_save(k);
    if (k->compiled) cache_sweep(k->dir, CACHE_SPIRV);
    for (size_t i = 0; i < k->pipelines.cap; i++)
        for (pipeline_entry *p = k->pipelines.slots[i].value; p; p = p->next)
            dev_pipeline_destroy(p->pipeline);
    for (size_t i = 0; i < k->modules.cap; i++)
        for (module *m = k->modules.slots[i].value; m; m = m->next)
            free(m->words);
    map_free(&k->pipelines);
    map_free(&k->modules);
    records_close(k);
    arena_free(&k->mem);
    pthread_cond_destroy(&k->moved);
    pthread_mutex_destroy(&k->lock);
    free(k);
}

/* What a shader's entry in the disk cache is known by: its name and defines, and the hash of the
 * whole text, which the compiler's version is part of. */
static void entry_id(const kernel_id *id, const text *source, text *out) {
    char hash[33];
    hash_hex(source->data, source->len, hash);
    text_add(out, "%s\n%s%s %zu", id->shader, id->defines, hash, source->len);
}

static bool from_cache(const kernels *k, const text *id, uint32_t **words, size_t *count) {
    void *data;
    size_t len;
    if (!cache_read(k->dir, "spirv", id, &data, &len)) return false;
    *words = data;
    *count = len / sizeof **words;
    bool ok = len % sizeof **words == 0 && *count >= SPIRV_HEADER && (*words)[0] == SPIRV_MAGIC;
    if (!ok) free(data);
    return ok;
}

mare_status kernel_compile(kernels *k, const kernel_id *id, uint32_t **words, size_t *count,
                           mare_error *e) {
    text source = {0}, entry = {0};
    mare_status status = source_expand(id, &source, e);
    if (!status) {
        entry_id(id, &source, &entry);
        if (k && from_cache(k, &entry, words, count)) {
            k->from_disk++;
        } else {
            status = compile_glsl(id->shader, source.data, words, count, e);
            if (!status && k) {
                k->compiled++;
                cache_write(k->dir, "spirv", &entry, *words, *count * sizeof **words);
            }
        }
    }
    text_free(&source);
    text_free(&entry);
    return status;
}

static bool same_text(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* ---- The known kernels: found and added by the thread that owns k alone ------------------- */

static module *get_module(kernels *k, const kernel_id *id, uint64_t hash) {
    module *first = map_get(&k->modules, hash);
    for (module *m = first; m; m = m->next)
        if (strcmp(m->shader, id->shader) == 0 && strcmp(m->defines, id->defines) == 0 &&
            same_text(m->text, id->text))
            return m;
    module *m = arena_alloc(&k->mem, sizeof *m);
    char *shader = arena_string(&k->mem, id->shader), *defines = arena_string(&k->mem, id->defines);
    char *own = id->text ? arena_string(&k->mem, id->text) : NULL;
    if (!m || !shader || !defines || (id->text && !own)) return NULL;
    *m = (module){.shader = shader, .defines = defines, .text = own, .next = first};
    return map_put(&k->modules, hash, m) ? m : NULL;
}

static bool id_equal(const kernel_id *a, const kernel_id *b) {
    return a->buffers == b->buffers && a->n_spec == b->n_spec &&
           memcmp(a->spec, b->spec, (size_t)a->n_spec * sizeof a->spec[0]) == 0 &&
           strcmp(a->shader, b->shader) == 0 && strcmp(a->defines, b->defines) == 0 &&
           same_text(a->text, b->text);
}

static mare_status get_entry(kernels *k, const kernel_id *id, pipeline_entry **out) {
    if (id->n_spec < 0 || id->n_spec > KERNEL_MAX_SPEC)
        return error_set(k->e, MARE_E_ARGUMENT,
                         "shader %s: %d specialisation constants, at most %d", id->shader,
                         id->n_spec, KERNEL_MAX_SPEC);
    uint64_t text_hash = hash_string(id->defines, hash_string(id->shader, 0));
    if (id->text) text_hash = hash_string(id->text, text_hash);
    uint64_t hash = hash_bytes(id->spec, (size_t)id->n_spec * sizeof id->spec[0],
                               text_hash + (uint64_t)id->buffers);
    pipeline_entry *first = map_get(&k->pipelines, hash);
    for (*out = first; *out; *out = (*out)->next)
        if (id_equal(&(*out)->id, id)) return MARE_OK;
    if (!k->d)
        return error_set(k->e, MARE_E_ARGUMENT, "shader %s: no device to run it on", id->shader);
    module *m = get_module(k, id, text_hash);
    pipeline_entry *p = arena_alloc(&k->mem, sizeof *p);
    if (!m || !p) return error_no_memory(k->e, sizeof *p);
    *p = (pipeline_entry){.k = k, .id = *id, .module = m, .next = first};
    p->id.shader = m->shader;
    p->id.defines = m->defines;
    p->id.text = m->text;
    if (!map_put(&k->pipelines, hash, p)) return error_no_memory(k->e, sizeof *p);
    *out = p;
    return MARE_OK;
}

/* ---- Making them: by any thread ----------------------------------------------------------- */

/* Claims what `at` tells of, with the lock held; false when it is there already. */
static bool claim(kernels *k, progress *at) {
    while (*at == WORKING)
        pthread_cond_wait(&k->moved, &k->lock);
    if (*at == READY) return false;
    *at = WORKING;
    return true;
}

static mare_status make_module(kernels *k, const kernel_id *id, module *m, mare_error *e) {
    pthread_mutex_lock(&k->lock);
    bool mine = claim(k, &m->at);
    pthread_mutex_unlock(&k->lock);
    if (!mine) return MARE_OK;
    mare_status status = kernel_compile(k, id, &m->words, &m->count, e);
    pthread_mutex_lock(&k->lock);
    m->at = status ? ABSENT : READY;
    pthread_cond_broadcast(&k->moved);
    pthread_mutex_unlock(&k->lock);
    return status;
}

/* Makes a claimed pipeline. */
static mare_status make_pipeline(kernels *k, pipeline_entry *p, mare_error *e) {
    const kernel_id *id = &p->id;
    mare_status status = make_module(k, id, p->module, e);
    if (!status) {
        status = dev_pipeline_create(k->d, p->module->words, p->module->count, id->buffers,
                                     id->spec, id->n_spec, &p->pipeline, e);
        if (status) error_prefix(e, "shader %s", id->shader);
    }
    pthread_mutex_lock(&k->lock);
    p->at = status ? ABSENT : READY;
    k->made += !status;
    pipelines_save_later(k);
    pthread_cond_broadcast(&k->moved);
    pthread_mutex_unlock(&k->lock);
    return status;
}

/* What fails here fails again in kernel_get(), which reports it. */
static void make_job(void *arg) {
    pipeline_entry *p = arg;
    kernels *k = p->k;
    mare_error ignored = {0};
    pthread_mutex_lock(&k->lock);
    bool mine = p->at == QUEUED && !k->ending;
    if (mine) p->at = WORKING;
    pthread_mutex_unlock(&k->lock);
    if (mine) make_pipeline(k, p, &ignored);
    pthread_mutex_lock(&k->lock);
    k->jobs--;
    pipelines_save_later(k);
    pthread_cond_broadcast(&k->moved);
    pthread_mutex_unlock(&k->lock);
}

void kernel_prefetch(kernels *k, const kernel_id *id) {
    pipeline_entry *p;
    mare_error saved = *k->e;
    mare_status status = get_entry(k, id, &p);
    *k->e = saved;
    if (status || !kernels_workers(k)) return;
    pthread_mutex_lock(&k->lock);
    if (p->at == ABSENT && thread_pool_add(k->workers, make_job, p)) {
        p->at = QUEUED;
        k->jobs++;
    }
    pthread_mutex_unlock(&k->lock);
}

mare_status kernel_get(kernels *k, const kernel_id *id, dev_pipeline **out) {
    pipeline_entry *p;
    mare_status status = get_entry(k, id, &p);
    if (status) return status;
    pthread_mutex_lock(&k->lock);
    bool mine = claim(k, &p->at);
    pthread_mutex_unlock(&k->lock);
    if (mine) status = make_pipeline(k, p, k->e);
    if (status) return status;
    if (k->dump && !p->shown) kernel_dump(k, id, !p->module->shown);
    p->shown = p->module->shown = true;
    *out = p->pipeline;
    return MARE_OK;
}

void kernels_get_stats(kernels *k, kernel_stats *out) {
    pthread_mutex_lock(&k->lock);
    *out = (kernel_stats){.compiled = k->compiled,
                          .from_disk = k->from_disk,
                          .pipelines = k->made,
                          .tuned = k->tuned};
    pthread_mutex_unlock(&k->lock);
}
