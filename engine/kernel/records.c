#include "kernel/tune.h"

#include "base/file.h"
#include "base/hash.h"
#include "kernel/internal.h"

#include <math.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Others hold the database for some milliseconds a record. What cannot be written in this time is
 * written with the next record. */
enum { BUSY_MS = 1000, REPLACE_MS = 2000 };

/* Times are whole picoseconds, so that they are the same in memory, on disk and in files. */
static const double picoseconds = 1e12;

/* ---- In memory ---------------------------------------------------------------------------- */

static tune_choice *find_choice(tuner *t, const char *key, const char *list) {
    for (size_t i = 0; i < t->choices.len; i++) {
        tune_choice *c = &t->choices.data[i];
        if (strcmp(c->r.key, key) == 0 && strcmp(c->r.list, list) == 0) return c;
    }
    return NULL;
}

bool records_own(kernels *k, mare_tune_record *r) {
    arena *mem = &k->mem;
    const char *best = r->best;
    size_t n = (size_t)r->n;
    mare_tune_candidate *all = n ? arena_copy(mem, r->candidates, n * sizeof *r->candidates) : NULL;
    r->key = arena_string(mem, r->key);
    r->list = arena_string(mem, r->list);
    if (best) r->best = arena_string(mem, best);
    if (!r->key || !r->list || (best && !r->best) || (n && !all)) return false;
    for (size_t i = 0; i < n; i++) {
        all[i].seconds = round(all[i].seconds * picoseconds) / picoseconds;
        if (!(all[i].name = arena_string(mem, all[i].name))) return false;
    }
    r->candidates = all;
    return true;
}

static bool keep(kernels *k, const tune_choice *c) {
    tune_choice now = *c, *old = find_choice(&k->tune, c->r.key, c->r.list);
    if (!records_own(k, &now.r)) return false;
    if (old) *old = now;
    return old || vec_push(&k->tune.choices, now);
}

/* ---- On disk ------------------------------------------------------------------------------ */

/* times: a line for each candidate, its name and picoseconds; best: "" where all failed. */
static const char schema[] =
    "CREATE TABLE IF NOT EXISTS tuned("
    "device TEXT, key TEXT, list TEXT, best TEXT, flops REAL, bytes REAL, times TEXT,"
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

static bool times_text(const mare_tune_record *r, text *out) {
    for (int i = 0; i < r->n; i++)
        text_add(out, "%s %.0f\n", r->candidates[i].name, r->candidates[i].seconds * picoseconds);
    return !out->failed;
}

/* The candidates of such a text, which is changed; lines that are none are left out. */
static bool parse_times(char *times, mare_tune_record *r, mare_tune_candidate **all) {
    size_t lines = 1;
    for (const char *p = times; *p; p++)
        lines += *p == '\n';
    if (!(*all = calloc(lines, sizeof **all))) return false;
    for (char *line = times, *end; *line; line = end) {
        end = line + strcspn(line, "\n");
        if (*end) *end++ = 0;
        char *space = strchr(line, ' ');
        if (!space || space == line) continue;
        *space = 0;
        double seconds = (double)strtoull(space + 1, NULL, 10) / picoseconds;
        (*all)[r->n++] = (mare_tune_candidate){line, seconds};
    }
    r->candidates = *all;
    return true;
}

/* The row that q is at. */
static bool load_row(kernels *k, sqlite3_stmt *q) {
    tune_choice c = {.r = {.key = column(q, 0),
                           .list = column(q, 1),
                           .best = column(q, 2),
                           .flops = sqlite3_column_double(q, 3),
                           .bytes = sqlite3_column_double(q, 4)}};
    mare_tune_candidate *all = NULL;
    char *times = arena_string(&k->mem, column(q, 5));
    if (!c.r.best[0]) c.r.best = NULL;
    bool ok = times && parse_times(times, &c.r, &all) && keep(k, &c);
    free(all);
    return ok;
}

static int load_choices(kernels *k) {
    tuner *t = &k->tune;
    sqlite3_stmt *q;
    int rc = check_pages(t->db);
    if (rc == SQLITE_OK) rc = sqlite3_exec(t->db, schema, NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_prepare_v2(
            t->db, "SELECT key, list, best, flops, bytes, times FROM tuned WHERE device = ?1", -1,
            &q, NULL);
    if (rc != SQLITE_OK) return rc;
    sqlite3_bind_text(q, 1, t->device, -1, SQLITE_STATIC);
    while ((rc = sqlite3_step(q)) == SQLITE_ROW)
        if (!load_row(k, q)) break;
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
    if (!name_device(t, dev_get_caps(k->d)) || !k->dir[0] || (size_t)n >= sizeof path ||
        file_make_dir(k->dir, NULL) != MARE_OK)
        return;
    if (worthless(open_database(k, path))) replace_database(k, path);
}

static bool write_choice(const tuner *t, const tune_choice *c) {
    const char *sql = c->gone ? "DELETE FROM tuned WHERE device = ?1 AND key = ?2 AND list = ?3"
                              : "INSERT OR REPLACE INTO tuned VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    sqlite3_stmt *q;
    text times = {0};
    bool ok = times_text(&c->r, &times);
    if (!ok || sqlite3_prepare_v2(t->db, sql, -1, &q, NULL) != SQLITE_OK) {
        text_free(&times);
        return false;
    }
    sqlite3_bind_text(q, 1, t->device, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 2, c->r.key, -1, SQLITE_STATIC);
    sqlite3_bind_text(q, 3, c->r.list, -1, SQLITE_STATIC);
    if (!c->gone) {
        sqlite3_bind_text(q, 4, c->r.best ? c->r.best : "", -1, SQLITE_STATIC);
        sqlite3_bind_double(q, 5, c->r.flops);
        sqlite3_bind_double(q, 6, c->r.bytes);
        sqlite3_bind_text(q, 7, text_str(&times), -1, SQLITE_STATIC);
    }
    ok = sqlite3_step(q) == SQLITE_DONE;
    sqlite3_finalize(q);
    text_free(&times);
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
    return c && !c->gone ? c : NULL;
}

bool records_put(kernels *k, const tune_choice *list, int n) {
    open_records(k);
    bool ok = true;
    for (int i = 0; i < n && ok; i++) {
        tune_choice now = list[i];
        now.unsaved = !now.passing;
        ok = keep(k, &now);
    }
    write_unsaved(&k->tune);
    return ok;
}

void records_close(kernels *k) {
    write_unsaved(&k->tune);
    sqlite3_close(k->tune.db);
    vec_free(&k->tune.choices);
    vec_free(&k->tune.run.results);
    k->tune = (tuner){0};
}

const char *tune_device(kernels *k) {
    if (k->d) open_records(k);
    return k->tune.device;
}

mare_status tune_list(kernels *k, mare_tune_record **out, int *n) {
    if (!k->d) return error_set(k->e, MARE_E_ARGUMENT, "tune_list: no device");
    open_records(k);
    size_t count = k->tune.choices.len;
    mare_tune_record *r = malloc((count + 1) * sizeof *r);
    if (!r) return error_no_memory(k->e, (count + 1) * sizeof *r);
    *n = 0;
    for (size_t i = 0; i < count; i++) {
        const tune_choice *c = &k->tune.choices.data[i];
        if (c->gone) continue;
        r[*n] = c->r;
        r[(*n)++].state = !c->r.list[0] ? MARE_TUNE_PINNED
                          : c->r.best   ? MARE_TUNE_KNOWN
                                        : MARE_TUNE_FAILED;
    }
    *out = r;
    return MARE_OK;
}

mare_status tune_clear(kernels *k) {
    if (!k->d) return error_set(k->e, MARE_E_ARGUMENT, "tune_clear: no device");
    open_records(k);
    tuner *t = &k->tune;
    sqlite3_stmt *q = NULL;
    bool ok = true;
    if (t->db) {
        ok = sqlite3_prepare_v2(t->db, "DELETE FROM tuned WHERE device = ?1", -1, &q, NULL) ==
                 SQLITE_OK &&
             sqlite3_bind_text(q, 1, t->device, -1, SQLITE_STATIC) == SQLITE_OK &&
             sqlite3_step(q) == SQLITE_DONE;
        sqlite3_finalize(q);
    }
    if (!ok)
        return error_set(k->e, MARE_E_IO, "tune_clear: %s/tuning.db: %s", k->dir,
                         sqlite3_errmsg(t->db));
    t->choices.len = 0;
    return MARE_OK;
}
