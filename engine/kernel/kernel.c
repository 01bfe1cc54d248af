#include "kernel/internal.h"

#include "base/file.h"
#include "base/hash.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SPIRV_MAGIC = 0x07230203, SPIRV_HEADER = 5 };

/* SPIR-V of a shader with its defines; several pipelines differ in the constants alone. */
typedef struct module {
    const char *shader, *defines;
    uint32_t *words;
    size_t count;
    struct module *next; /* of the same hash */
} module;

typedef struct pipeline_entry {
    kernel_id id;
    dev_pipeline *pipeline;
    struct pipeline_entry *next; /* of the same hash */
} pipeline_entry;

/* The driver's pipelines fit one driver of one device. */
static void pipeline_cache_key(const dev_caps *caps, char key[33]) {
    char id[64];
    int n =
        snprintf(id, sizeof id, "%x %x %x ", caps->vendor, caps->device_id, caps->driver_version);
    memcpy(id + n, caps->cache_uuid, sizeof caps->cache_uuid);
    hash_hex(id, (size_t)n + sizeof caps->cache_uuid, key);
}

static void load_pipelines(kernels *k) {
    char key[33];
    void *data;
    size_t len;
    pipeline_cache_key(dev_get_caps(k->d), key);
    if (!cache_read(k->dir, "pipelines", key, &data, &len)) return;
    dev_pipeline_cache_load(k->d, data, len);
    free(data);
}

static void save_pipelines(kernels *k) {
    char key[33];
    void *data = NULL;
    size_t len = 0;
    pipeline_cache_key(dev_get_caps(k->d), key);
    if (dev_lost(k->d) || dev_pipeline_cache_save(k->d, &data, &len) != MARE_OK) return;
    cache_write(k->dir, "pipelines", key, data, len);
    free(data);
}

mare_status kernels_create(dev_device *d, mare_error *e, kernels **out) {
    kernels *k = calloc(1, sizeof *k);
    if (!k) return error_no_memory(e, sizeof *k);
    k->d = d;
    k->e = e;
    file_cache_dir(k->dir, sizeof k->dir);
    if (d) load_pipelines(k);
    *out = k;
    return MARE_OK;
}

void kernels_destroy(kernels *k) {
    if (!k) return;
    if (k->d) dev_wait(k->d); /* pipelines may be in use */
    if (k->made) save_pipelines(k);
    for (size_t i = 0; i < k->pipelines.cap; i++)
        for (pipeline_entry *p = k->pipelines.slots[i].value; p; p = p->next)
            dev_pipeline_destroy(p->pipeline);
    for (size_t i = 0; i < k->modules.cap; i++)
        for (module *m = k->modules.slots[i].value; m; m = m->next)
            free(m->words);
    map_free(&k->pipelines);
    map_free(&k->modules);
    tune_close(&k->tune);
    arena_free(&k->mem);
    free(k);
}

static bool from_cache(const kernels *k, const char *key, uint32_t **words, size_t *count) {
    void *data;
    size_t len;
    if (!cache_read(k->dir, "spirv", key, &data, &len)) return false;
    *words = data;
    *count = len / sizeof **words;
    bool ok = len % sizeof **words == 0 && *count >= SPIRV_HEADER && (*words)[0] == SPIRV_MAGIC;
    if (!ok) free(data);
    return ok;
}

mare_status kernel_compile(kernels *k, const kernel_id *id, uint32_t **words, size_t *count,
                           mare_error *e) {
    text source = {0};
    mare_status status = source_expand(id, &source, e);
    if (!status) {
        char key[33];
        hash_hex(source.data, source.len, key);
        if (k && from_cache(k, key, words, count)) {
            k->from_disk++;
        } else {
            status = compile_glsl(id->shader, source.data, words, count, e);
            if (!status && k) {
                k->compiled++;
                cache_write(k->dir, "spirv", key, *words, *count * sizeof **words);
            }
        }
    }
    text_free(&source);
    return status;
}

static mare_status get_module(kernels *k, const kernel_id *id, uint64_t hash, module **out) {
    module *first = map_get(&k->modules, hash);
    for (module *m = first; m; m = m->next)
        if (strcmp(m->shader, id->shader) == 0 && strcmp(m->defines, id->defines) == 0) {
            *out = m;
            return MARE_OK;
        }
    uint32_t *words;
    size_t count;
    mare_status status = kernel_compile(k, id, &words, &count, k->e);
    if (status) return status;
    module *m = arena_alloc(&k->mem, sizeof *m);
    char *shader = arena_string(&k->mem, id->shader), *defines = arena_string(&k->mem, id->defines);
    if (m) *m = (module){shader, defines, words, count, first};
    if (!m || !shader || !defines || !map_put(&k->modules, hash, m)) {
        free(words);
        return error_no_memory(k->e, sizeof *m);
    }
    *out = m;
    return MARE_OK;
}

static bool id_equal(const kernel_id *a, const kernel_id *b) {
    return a->buffers == b->buffers && a->n_spec == b->n_spec &&
           memcmp(a->spec, b->spec, (size_t)a->n_spec * sizeof a->spec[0]) == 0 &&
           strcmp(a->shader, b->shader) == 0 && strcmp(a->defines, b->defines) == 0;
}

mare_status kernel_get(kernels *k, const kernel_id *id, dev_pipeline **out) {
    if (id->n_spec < 0 || id->n_spec > KERNEL_MAX_SPEC)
        return error_set(k->e, MARE_E_ARGUMENT,
                         "shader %s: %d specialisation constants, at most %d", id->shader,
                         id->n_spec, KERNEL_MAX_SPEC);
    uint64_t text_hash = hash_string(id->defines, hash_string(id->shader, 0));
    uint64_t hash = hash_bytes(id->spec, (size_t)id->n_spec * sizeof id->spec[0],
                               text_hash + (uint64_t)id->buffers);
    pipeline_entry *first = map_get(&k->pipelines, hash);
    for (pipeline_entry *p = first; p; p = p->next)
        if (id_equal(&p->id, id)) {
            *out = p->pipeline;
            return MARE_OK;
        }
    if (!k->d)
        return error_set(k->e, MARE_E_ARGUMENT, "shader %s: no device to run it on", id->shader);
    module *m = NULL;
    mare_status status = get_module(k, id, text_hash, &m);
    if (status) return status;
    pipeline_entry *p = arena_alloc(&k->mem, sizeof *p);
    if (!p) return error_no_memory(k->e, sizeof *p);
    p->id = *id;
    p->id.shader = m->shader;
    p->id.defines = m->defines;
    p->next = first;
    status = dev_pipeline_create(k->d, m->words, m->count, id->buffers, id->spec, id->n_spec,
                                 &p->pipeline, k->e);
    if (status) {
        error_prefix(k->e, "shader %s", id->shader);
        return status;
    }
    if (!map_put(&k->pipelines, hash, p)) {
        dev_pipeline_destroy(p->pipeline);
        return error_no_memory(k->e, sizeof *p);
    }
    k->made++;
    *out = p->pipeline;
    return MARE_OK;
}

void kernels_get_stats(const kernels *k, kernel_stats *out) {
    *out = (kernel_stats){.compiled = k->compiled,
                          .from_disk = k->from_disk,
                          .pipelines = k->made,
                          .tuned = k->tuned};
}
