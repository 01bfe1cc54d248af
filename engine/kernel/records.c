#include "kernel/tune.h"

#include "base/file.h"
#include "base/hash.h"
#include "kernel/internal.h"

#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

/* Others hold the database for some milliseconds a record. What cannot be written in this time is
 * written with the next record. */
enum { BUSY_MS = 1000, REPLACE_MS = 2000 };

/* ---- In memory ---------------------------------------------------------------------------- */

static tune_choice *find_choice(tuner *t, const char *key, const char *list) {
    for (size_t i = 0; i < t->choices.len; i++) {
        tune_choice *c = &t->choices.data[i];
        if (strcmp(c->key, key) == 0 && strcmp(c->list, list) == 0) return c;
    }
    return NULL;
}

static bool keep(kernels *k, const tune_choice *c) {
    tune_choice now = *c, *old = find_choice(&k->tune, c->key, c->list);
    if (c->best && !(now.best = arena_string(&k->mem, c->best))) return false;
    now.key = old ? old->key : arena_string(&k->mem, c->key);
    now.list = old ? old->list : arena_string(&k->mem, c->list);
    if (!now.key || !now.list) return false;
    if (old) *old = now;
    return old || vec_push(&k->tune.choices, now);
}

/* ---- On disk ------------------------------------------------------------------------------ */

static const char schema[] =
    "CREATE TABLE IF NOT EXISTS choice("
    "device TEXT, key TEXT, list TEXT, best TEXT, seconds REAL, flops REAL,"
    "PRIMARY KEY(device, key, list)) WITHOUT ROWID";

static const char *column(sqlite3_stmt *q, int i) {
    const unsigned char *s = sqlite3_column_text(q, i);
    return s ? (const char *)s : "";
}

/* A damaged database may be read and still take no record. */
static int check_pages(sqlite3 *db) {
    sqlite3_stmt *q;
    int rc = sqlite3_prepare_v2(db, "PRAGMA integrity_check(1)", -1, &q, NULL);
    if (rc != SQLITE_OK) return rc;
    rc = sqlite3_step(q);
    bool sound = rc == SQLITE_ROW && strcmp(column(q, 0), "ok") == 0;
    sqlite3_finalize(q);
    return sound ? SQLITE_OK : rc == SQLITE_ROW ? SQLITE_CORRUPT : rc;
}

static int load_choices(kernels *k) {
    tuner *t = &k->tune;
    sqlite3_stmt *q;
    int rc = check_pages(t->db);
    if (rc == SQLITE_OK) rc = sqlite3_exec(t->db, schema, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(
            t->db, "SELECT key, list, best, seconds, flops FROM choice WHERE device = ?1", -1, &q,
            NULL);
    if (rc != SQLITE_OK) return rc;
    sqlite3_bind_text(q, 1, t->device, -1, SQLITE_STATIC);
    while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
        tune_choice c = {.key = column(q, 0),
                         .list = column(q, 1),
                         .best = column(q, 2),
                         .seconds = sqlite3_column_double(q, 3),
                         .flops = sqlite3_column_double(q, 4)};
        if (!keep(k, &c)) break;
    }
    sqlite3_finalize(q);
    return rc == SQLITE_DONE ? SQLITE_OK : rc;
}

/* Opens and reads the database. One that others hold for long stays open, to be written later. */
static int open_database(kernels *k, const char *path) {
    tuner *t = &k->tune;
    int rc = sqlite3_open_v2(path, &t->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_busy_timeout(t->db, BUSY_MS);
        rc = load_choices(k);
    }
    if (rc != SQLITE_OK) t->choices.len = 0;
    if (rc != SQLITE_OK && rc != SQLITE_BUSY) {
        sqlite3_close(t->db);
        t->db = NULL;
    }
    return rc;
}

/* Is what lies there no database of choices? Then it will never be one. */
static bool worthless(int rc) {
    return rc == SQLITE_NOTADB || rc == SQLITE_CORRUPT || rc == SQLITE_ERROR;
}

static void replace_database(kernels *k, const char *path) {
    static const char *const parts[] = {"-journal", "-wal", "-shm", ""};
    char name[4096 + 16];
    snprintf(name, sizeof name, "%s/lock", k->dir);
    int lock = file_lock(name, REPLACE_MS);
    /* Another process may just have put it right. */
    if (worthless(open_database(k, path))) {
        for (int i = 0; i < 4; i++) {
            snprintf(name, sizeof name, "%s%s", path, parts[i]);
            remove(name);
        }
        open_database(k, path);
    }
    file_unlock(lock);
}

static bool name_device(tuner *t, const dev_caps *caps) {
    text id = {0};
    text_add(&id, "%x %x %x %s / %s / ", caps->vendor, caps->device_id, caps->driver_version,
             caps->name, caps->driver);
    text_bytes(&id, caps->cache_uuid, sizeof caps->cache_uuid);
    bool ok = !id.failed;
    if (ok) hash_hex(id.data, id.len, t->device);
    text_free(&id);
    return ok;
}

/* Reads the records of this device, once. */
static void open_records(kernels *k) {
    tuner *t = &k->tune;
    if (t->opened) return;
    t->opened = true;
    char path[4096];
    int n = snprintf(path, sizeof path, "%s/tuning.db", k->dir);
    if (!k->dir[0] || (size_t)n >= sizeof path || !name_device(t, dev_get_caps(k->d)) ||
        file_make_dir(k->dir, NULL) != MARE_OK)
        return;
    if (worthless(open_database(k, path))) replace_database(k, path);
}

static bool write_choice(const tuner *t, const tune_choice *c) {
    sqlite3_stmt *q;
    const char *sql = c->best ? "INSERT OR REPLACE INTO choice VALUES(?1, ?2, ?3, ?4, ?5, ?6)"
                              : "DELETE FROM choice WHERE device = ?1 AND key = ?2 AND list = ?3";
    if (sqlite3_prepare_v2(t->db, sql, -1, &q, NULL) != SQLITE_OK) return false;
    sqlite3_bind_text(q, 1, t->device, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 2, c->key, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 3, c->list, -1, SQLITE_STATIC);
    if (c->best) {
        sqlite3_bind_text(q, 4, c->best, -1, SQLITE_STATIC);
        sqlite3_bind_double(q, 5, c->seconds);
        sqlite3_bind_double(q, 6, c->flops);
    }
    bool ok = sqlite3_step(q) == SQLITE_DONE;
    sqlite3_finalize(q);
    return ok;
}

/* All that the disk does not know, in one transaction. */
static void write_unsaved(tuner *t) {
    bool any = false, ok;
    for (size_t i = 0; i < t->choices.len; i++)
        any |= t->choices.data[i].unsaved;
    if (!any || !t->db) return;
    ok = sqlite3_exec(t->db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK;
    for (size_t i = 0; i < t->choices.len && ok; i++)
        if (t->choices.data[i].unsaved) ok = write_choice(t, &t->choices.data[i]);
    ok = ok && sqlite3_exec(t->db, "COMMIT", NULL, NULL, NULL) == SQLITE_OK;
    if (!ok) sqlite3_exec(t->db, "ROLLBACK", NULL, NULL, NULL);
    for (size_t i = 0; i < t->choices.len && ok; i++)
        t->choices.data[i].unsaved = false;
}

/* ---- Both --------------------------------------------------------------------------------- */

const tune_choice *records_find(kernels *k, const char *key, const char *list) {
    open_records(k);
    const tune_choice *c = find_choice(&k->tune, key, list);
    return c && c->best ? c : NULL;
}

bool records_put(kernels *k, const tune_choice *c) {
    open_records(k);
    tune_choice now = *c;
    now.unsaved = true;
    bool ok = keep(k, &now);
    write_unsaved(&k->tune);
    return ok;
}

void records_close(kernels *k) {
    write_unsaved(&k->tune);
    sqlite3_close(k->tune.db);
    vec_free(&k->tune.choices);
    k->tune = (tuner){0};
}

mare_status tune_list(kernels *k, tune_record **out, int *n) {
    if (!k->d) return error_set(k->e, MARE_E_ARGUMENT, "tune_list: no device");
    open_records(k);
    size_t count = k->tune.choices.len;
    tune_record *r = malloc((count + 1) * sizeof *r);
    if (!r) return error_no_memory(k->e, (count + 1) * sizeof *r);
    *n = 0;
    for (size_t i = 0; i < count; i++) {
        const tune_choice *c = &k->tune.choices.data[i];
        if (c->best)
            r[(*n)++] = (tune_record){c->key, c->best, c->list[0] == 0, c->seconds, c->flops};
    }
    *out = r;
    return MARE_OK;
}
