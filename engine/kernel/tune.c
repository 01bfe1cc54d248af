#include "kernel/tune.h"

#include "base/file.h"
#include "base/hash.h"
#include "kernel/internal.h"

#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Records ------------------------------------------------------------------------------ */

/* Records stand in a database that several processes may share. Whatever goes wrong with it, the
 * tuner goes without: it measures once a run instead of once a machine. */

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS choice("
    "device TEXT, key TEXT, list TEXT, best TEXT, seconds REAL, flops REAL,"
    "PRIMARY KEY(device, key, list)) WITHOUT ROWID";

static tune_choice *find_choice(tuner *t, const char *key, const char *list) {
    for (size_t i = 0; i < t->choices.len; i++) {
        tune_choice *c = &t->choices.data[i];
        if (strcmp(c->key, key) == 0 && strcmp(c->list, list) == 0) return c;
    }
    return NULL;
}

/* Into memory, over an older one of the same key and list. */
static bool keep(kernels *k, const tune_choice *c) {
    tuner *t = &k->tune;
    char *best = arena_string(&k->mem, c->best);
    tune_choice *old = find_choice(t, c->key, c->list);
    if (!best) return false;
    if (old) {
        old->best = best;
        old->seconds = c->seconds;
        old->flops = c->flops;
        return true;
    }
    char *key = arena_string(&k->mem, c->key), *list = arena_string(&k->mem, c->list);
    return key && list &&
           vec_push(&t->choices, (tune_choice){key, list, best, c->seconds, c->flops});
}

static const char *column(sqlite3_stmt *q, int i) {
    const unsigned char *s = sqlite3_column_text(q, i);
    return s ? (const char *)s : "";
}

static bool load_choices(kernels *k) {
    tuner *t = &k->tune;
    sqlite3_stmt *q;
    if (sqlite3_exec(t->db, schema, NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(t->db,
                           "SELECT key, list, best, seconds, flops FROM choice WHERE device = ?1",
                           -1, &q, NULL) != SQLITE_OK)
        return false;
    sqlite3_bind_text(q, 1, t->device, -1, SQLITE_STATIC);
    int rc;
    bool ok = true;
    while (ok && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        tune_choice c = {column(q, 0), column(q, 1), column(q, 2), sqlite3_column_double(q, 3),
                         sqlite3_column_double(q, 4)};
        ok = keep(k, &c);
    }
    sqlite3_finalize(q);
    return ok && rc == SQLITE_DONE;
}

static void forget_disk(tuner *t) {
    sqlite3_close(t->db);
    t->db = NULL;
}

/* Reads the records of this device, once. */
static void open_records(kernels *k) {
    tuner *t = &k->tune;
    if (t->opened) return;
    t->opened = true;
    const dev_caps *caps = dev_get_caps(k->d);
    text id = {0};
    text_add(&id, "%x %x %x %s / %s / ", caps->vendor, caps->device_id, caps->driver_version,
             caps->name, caps->driver);
    text_bytes(&id, caps->cache_uuid, sizeof caps->cache_uuid);
    if (!id.failed) hash_hex(id.data, id.len, t->device);
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/tuning.db", k->dir);
    if (id.failed || !k->dir[0] || (size_t)n >= sizeof path ||
        file_make_dir(k->dir, NULL) != MARE_OK) {
        text_free(&id);
        return;
    }
    text_free(&id);
    int rc = sqlite3_open_v2(path, &t->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (rc != SQLITE_OK) {
        forget_disk(t);
        return;
    }
    sqlite3_busy_timeout(t->db, 200);
    if (!load_choices(k)) forget_disk(t);
}

/* Best effort; a null best takes the record away. */
static void write_choice(tuner *t, const tune_choice *c) {
    sqlite3_stmt *q;
    const char *sql = c->best ? "INSERT OR REPLACE INTO choice VALUES(?1, ?2, ?3, ?4, ?5, ?6)"
                              : "DELETE FROM choice WHERE device = ?1 AND key = ?2 AND list = ?3";
    if (!t->db || sqlite3_prepare_v2(t->db, sql, -1, &q, NULL) != SQLITE_OK) return;
    sqlite3_bind_text(q, 1, t->device, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 2, c->key, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 3, c->list, -1, SQLITE_STATIC);
    if (c->best) {
        sqlite3_bind_text(q, 4, c->best, -1, SQLITE_STATIC);
        sqlite3_bind_double(q, 5, c->seconds);
        sqlite3_bind_double(q, 6, c->flops);
    }
    sqlite3_step(q);
    sqlite3_finalize(q);
}

void tune_close(tuner *t) {
    sqlite3_close(t->db);
    vec_free(&t->choices);
    *t = (tuner){0};
}

mare_status tune_pin(kernels *k, const char *key, const char *candidate) {
    if (!k->d) return error_set(k->e, MARE_E_ARGUMENT, "tune_pin(\"%s\"): no device", key);
    open_records(k);
    tune_choice pin = {.key = key, .list = "", .best = candidate};
    if (candidate) {
        if (!keep(k, &pin)) return error_no_memory(k->e, sizeof pin);
    } else {
        tune_choice *old = find_choice(&k->tune, key, "");
        if (old) *old = k->tune.choices.data[--k->tune.choices.len];
    }
    write_choice(&k->tune, &pin);
    return MARE_OK;
}

mare_status tune_list(kernels *k, tune_record **out, int *n) {
    if (!k->d) return error_set(k->e, MARE_E_ARGUMENT, "tune_list: no device");
    open_records(k);
    size_t count = k->tune.choices.len;
    tune_record *r = malloc((count + 1) * sizeof *r);
    if (!r) return error_no_memory(k->e, (count + 1) * sizeof *r);
    for (size_t i = 0; i < count; i++) {
        const tune_choice *c = &k->tune.choices.data[i];
        r[i] = (tune_record){c->key, c->best, c->list[0] == 0, c->seconds, c->flops};
    }
    *out = r;
    *n = (int)count;
    return MARE_OK;
}

/* ---- Choosing ----------------------------------------------------------------------------- */

static int by_name(const tune_problem *p, const char *name) {
    for (int i = 0; i < p->n; i++)
        if (strcmp(p->candidates[i].name, name) == 0) return i;
    return -1;
}

/* Hash of the candidates: their names, and the shaders behind the names, so that an edited shader
 * is measured again. */
static bool hash_list(const tune_problem *p, char out[33]) {
    text t = {0};
    for (int i = 0; i < p->n; i++) {
        const tune_candidate *c = &p->candidates[i];
        char path[512], *owned;
        size_t len;
        snprintf(path, sizeof path, "shaders/%s", c->kernel.shader);
        const char *source = source_text(path, &len, &owned);
        text_add(&t, "%s %s %016llx\n", c->name, c->kernel.shader,
                 source ? (unsigned long long)hash_bytes(source, len, 0) : 0ull);
        free(owned);
    }
    if (!t.failed) hash_hex(t.data, t.len, out);
    bool ok = !t.failed;
    text_free(&t);
    return ok;
}

int tune_choose(kernels *k, const tune_problem *p) {
    if (p->n < 2 || !k->d) return 0;
    open_records(k);
    const tune_choice *c = find_choice(&k->tune, p->key, "");
    int best = c ? by_name(p, c->best) : -1;
    const char *env = getenv("MARE_TUNE");
    if (best >= 0) return best;
    if (env && strcmp(env, "0") == 0) return 0;
    char list[33];
    if (!hash_list(p, list)) return 0;
    c = find_choice(&k->tune, p->key, list);
    best = c ? by_name(p, c->best) : -1;
    if (best >= 0) return best;
    double seconds;
    /* What fails here fails for candidate 0 in the plan as well, and is reported there; a failure
     * of measuring alone is no failure of the call. */
    mare_error saved = *k->e;
    best = tune_measure(k, p, &seconds);
    *k->e = saved;
    k->tuned++;
    if (best < 0) return 0;
    tune_choice now = {p->key, list, p->candidates[best].name, seconds, p->flops};
    keep(k, &now);
    write_choice(&k->tune, &now);
    return best;
}
