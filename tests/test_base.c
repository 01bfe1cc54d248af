#define _POSIX_C_SOURCE 200809L
#include "base/arena.h"
#include "base/file.h"
#include "base/hash.h"
#include "base/map.h"
#include "base/rng.h"
#include "base/text.h"
#include "base/thread.h"
#include "base/vec.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- Random numbers ----------------------------------------------------------------------- */

/* The known answers that Random123 1.14 publishes for philox4x32, 10 rounds (kat_vectors). */
Test(base, philox_known_answers) {
    static const uint32_t kat[][10] = {
        {0, 0, 0, 0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8},
        {0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x408f276d,
         0x41c83b0e, 0xa20bc7c6, 0x6d5451fd},
        {0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xa4093822, 0x299f31d0, 0xd16cfe09,
         0x94fdcceb, 0x5001e420, 0x24126ea1},
    };
    for (size_t i = 0; i < sizeof kat / sizeof kat[0]; i++) {
        uint32_t out[4];
        philox4x32(kat[i], kat[i] + 4, out);
        for (int j = 0; j < 4; j++)
            cr_expect(out[j] == kat[i][6 + j], "vector %zu word %d: %08x", i, j, out[j]);
    }
}

Test(base, rng_streams_repeat) {
    rng a = {7, 0}, b = {7, 0}, c = {8, 0};
    int same = 0;
    for (int i = 0; i < 1000; i++) {
        uint32_t x = rng_u32(&a);
        cr_assert(x == rng_u32(&b));
        same += x == rng_u32(&c);
    }
    cr_expect(same < 3, "two seeds give the same numbers");
}

Test(base, rng_below_is_uniform) {
    rng r = {1, 0};
    int count[7] = {0};
    for (int i = 0; i < 70000; i++) {
        uint32_t x = rng_below(&r, 7);
        cr_assert(x < 7);
        count[x]++;
    }
    /* Six standard deviations of a binomial with n = 70000, p = 1/7. */
    for (int i = 0; i < 7; i++)
        cr_expect(abs(count[i] - 10000) < 556, "%d came up %d times", i, count[i]);
    cr_expect(rng_below(&r, 1) == 0);
}

Test(base, permutations) {
    rng r = {3, 0};
    uint32_t order[1000];
    bool seen[1000] = {false};
    rng_permutation(&r, order, 1000);
    int moved = 0;
    for (uint32_t i = 0; i < 1000; i++) {
        cr_assert(order[i] < 1000 && !seen[order[i]]);
        seen[order[i]] = true;
        moved += order[i] != i;
    }
    cr_expect(moved > 900);
    rng_permutation(&r, order, 1);
    cr_expect(order[0] == 0);
    rng_permutation(&r, order, 0);
    /* All six orders of three come up about as often. */
    int count[27] = {0};
    for (int i = 0; i < 6000; i++) {
        rng_permutation(&r, order, 3);
        count[order[0] * 9 + order[1] * 3 + order[2]]++;
    }
    for (int i = 0; i < 27; i++)
        cr_expect(count[i] == 0 || abs(count[i] - 1000) < 174, "order %d: %d", i, count[i]);
}

/* ---- Containers --------------------------------------------------------------------------- */

Test(base, vec_grows) {
    VEC(int) v = {0};
    for (int i = 0; i < 10000; i++)
        cr_assert(vec_push(&v, i));
    cr_expect(v.len == 10000 && v.cap >= v.len);
    for (int i = 0; i < 10000; i++)
        cr_assert(v.data[i] == i);
    int *data = v.data;
    size_t cap = v.cap;
    cr_expect(!vec_grow((void **)&v.data, &v.cap, (size_t)-1 / 2, sizeof(int)),
              "a size that does not fit must fail");
    cr_expect(v.data == data && v.cap == cap, "and leave the vector as it was");
    vec_free(&v);
    cr_expect(v.data == NULL && v.len == 0 && v.cap == 0);
}

Test(base, map_puts_gets_takes) {
    enum { N = 4000 };
    map m = {0};
    static int values[N];
    cr_expect(map_get(&m, 1) == NULL && map_take(&m, 1) == NULL);
    for (uint64_t i = 0; i < N; i++)
        cr_assert(map_put(&m, i * 4096, &values[i]));
    cr_expect(m.len == N);
    for (uint64_t i = 0; i < N; i++)
        cr_assert(map_get(&m, i * 4096) == &values[i]);
    cr_expect(map_get(&m, 1) == NULL);
    cr_assert(map_put(&m, 0, &values[5]));
    cr_expect(m.len == N && map_get(&m, 0) == &values[5], "put over an older value");
    /* Taking every third out must not hide any other. */
    for (uint64_t i = 1; i < N; i += 3)
        cr_assert(map_take(&m, i * 4096) == &values[i]);
    for (uint64_t i = 1; i < N; i++)
        cr_assert(map_get(&m, i * 4096) == (i % 3 == 1 ? NULL : &values[i]), "key %d", (int)i);
    map_free(&m);
    cr_expect(map_get(&m, 0) == NULL);
}

/* Against a plain table, over many random operations on few keys, so that runs collide and wrap. */
Test(base, map_agrees_with_a_table) {
    map m = {0};
    static void *table[64];
    rng r = {11, 0};
    size_t len = 0;
    for (int i = 0; i < 20000; i++) {
        uint32_t key = rng_below(&r, 64);
        if (rng_below(&r, 2)) {
            len += table[key] == NULL;
            table[key] = &table[rng_below(&r, 64)];
            cr_assert(map_put(&m, key, table[key]));
        } else {
            len -= table[key] != NULL;
            cr_assert(map_take(&m, key) == table[key]);
            table[key] = NULL;
        }
        cr_assert(m.len == len);
        for (uint32_t j = 0; j < 64; j++)
            cr_assert(map_get(&m, j) == table[j]);
    }
    map_free(&m);
}

Test(base, arena_memory) {
    arena a = {0};
    unsigned char *all[300];
    for (size_t i = 0; i < 300; i++) {
        size_t n = i * 37 % 5000;
        all[i] = arena_alloc(&a, n);
        cr_assert(all[i] && (uintptr_t)all[i] % _Alignof(max_align_t) == 0);
        for (size_t j = 0; j < n; j++)
            cr_assert(all[i][j] == 0);
        memset(all[i], (int)i, n);
    }
    for (size_t i = 0; i < 300; i++)
        for (size_t j = 0; j < i * 37 % 5000; j++)
            cr_assert(all[i][j] == (unsigned char)i);
    cr_expect(strcmp(arena_string(&a, "mare"), "mare") == 0);
    cr_expect(memcmp(arena_copy(&a, "\1\0\2", 3), "\1\0\2", 3) == 0);
    cr_expect(arena_alloc(&a, (size_t)-1) == NULL, "more than there is");
    cr_expect(arena_alloc(&a, (size_t)-64) == NULL);
    cr_expect(arena_alloc(&a, 1 << 20) != NULL, "larger than any block");
    arena_free(&a);
    cr_expect(arena_alloc(&a, 8) != NULL, "usable again");
    arena_free(&a);
}

Test(base, text_grows) {
    text t = {0};
    cr_expect(strcmp(text_str(&t), "") == 0);
    for (int i = 0; i < 2000; i++)
        text_add(&t, "%d,", i);
    text_bytes(&t, "end\0past", 8);
    cr_assert(!t.failed);
    cr_expect(strncmp(text_str(&t), "0,1,2,", 6) == 0);
    cr_expect(t.data[t.len] == 0 && memcmp(t.data + t.len - 8, "end\0past", 8) == 0);
    text_free(&t);
    cr_expect(strcmp(text_str(&t), "") == 0 && t.len == 0);
}

Test(base, hashes) {
    cr_expect(hash_bytes("abc", 3, 0) == hash_string("abc", 0));
    cr_expect(hash_string("abc", 0) != hash_string("abd", 0));
    cr_expect(hash_string("abc", 0) != hash_string("abc", 1));
    char a[33], b[33];
    hash_hex("mare", 4, a);
    hash_hex("mare", 4, b);
    cr_expect(strlen(a) == 32 && strspn(a, "0123456789abcdef") == 32 && strcmp(a, b) == 0);
    hash_hex("", 0, b);
    cr_expect(strcmp(a, b) != 0);
}

/* ---- Errors ------------------------------------------------------------------------------- */

Test(base, errors) {
    mare_error e = {0};
    cr_expect(error_set(&e, MARE_E_SHAPE, "[%d, %d]", 2, 3) == MARE_E_SHAPE);
    cr_expect(e.code == MARE_E_SHAPE && strcmp(e.text, "[2, 3]") == 0);
    cr_expect(error_prefix(&e, "matmul") == MARE_E_SHAPE);
    cr_expect(strcmp(e.text, "matmul: [2, 3]") == 0);
    cr_expect(error_set(&e, MARE_E_IO, "again %s", e.text) == MARE_E_IO);
    cr_expect(strcmp(e.text, "again matmul: [2, 3]") == 0, "its own text as an argument");
    cr_expect(error_set(NULL, MARE_E_IO, "x") == MARE_E_IO);
    char longer[3000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    error_set(&e, MARE_E_IO, "%s", longer);
    cr_expect(strlen(e.text) == sizeof e.text - 1);
    error_prefix(&e, "%s", longer);
    cr_expect(strlen(e.text) < sizeof e.text);
    cr_expect(error_no_memory(&e, 12345) == MARE_E_HOST_MEMORY && strstr(e.text, "12345"));
    for (int s = MARE_OK; s <= MARE_E_VULKAN; s++)
        cr_expect(strcmp(mare_status_name((mare_status)s), "unknown") != 0);
    cr_expect(strcmp(mare_status_name((mare_status)1000), "unknown") == 0);
}

/* ---- Files -------------------------------------------------------------------------------- */

static char folder[] = "/tmp/mare-test-base-XXXXXX";
static char path[200];

static void make_folder(void) {
    cr_assert(mkdtemp(folder) != NULL);
    snprintf(path, sizeof path, "%s/file", folder);
}

/* Takes the files in it away, and it; returns how many there were. */
static int entries(bool take) {
    int n = 0;
    DIR *d = opendir(folder);
    cr_assert(d != NULL);
    for (struct dirent *f; (f = readdir(d));) {
        if (f->d_name[0] == '.') continue;
        n++;
        char name[600];
        snprintf(name, sizeof name, "%s/%s", folder, f->d_name);
        if (take) remove(name);
    }
    closedir(d);
    return n;
}

static void drop_folder(void) {
    chmod(folder, 0755);
    entries(true);
    rmdir(folder);
}

Test(base, file_round_trip, .init = make_folder, .fini = drop_folder) {
    mare_error e = {0};
    void *data;
    size_t len;
    cr_expect(!file_exists(path));
    cr_expect(file_read(path, 0, &data, &len, &e) == MARE_E_IO && data == NULL);
    cr_expect(strstr(e.text, path), "the error names the file: %s", e.text);
    cr_assert(file_write(path, "a\0b", 3, &e) == MARE_OK);
    cr_assert(file_read(path, 0, &data, &len, &e) == MARE_OK);
    cr_expect(len == 3 && memcmp(data, "a\0b", 4) == 0, "a zero byte follows");
    free(data);
    cr_expect(file_read(path, 2, &data, &len, &e) == MARE_E_IO, "over the limit");
    cr_assert(file_read(path, 3, &data, &len, &e) == MARE_OK);
    free(data);
    cr_assert(file_write(path, "", 0, &e) == MARE_OK);
    cr_assert(file_read(path, 0, &data, &len, &e) == MARE_OK);
    cr_expect(len == 0 && *(char *)data == 0);
    free(data);
    cr_expect(file_read(folder, 0, &data, &len, &e) == MARE_E_IO, "a folder is no file");
    cr_expect(entries(false) == 1, "no temporary file is left");
}

Test(base, file_write_failure_keeps_the_old_file, .init = make_folder, .fini = drop_folder) {
    mare_error e = {0};
    cr_assert(file_write(path, "old", 3, &e) == MARE_OK);
    char below[300];
    snprintf(below, sizeof below, "%s/none/file", folder);
    cr_expect(file_write(below, "x", 1, &e) == MARE_E_IO && strstr(e.text, below));
    /* The name is taken by a folder that is not empty: the rename at the end fails. */
    snprintf(below, sizeof below, "%s/dir", folder);
    char inside[400];
    snprintf(inside, sizeof inside, "%s/x", below);
    cr_assert(file_make_dir(inside, &e) == MARE_OK);
    cr_expect(file_write(below, "x", 1, &e) == MARE_E_IO);
    cr_expect(entries(false) == 2, "the temporary file is gone");
    rmdir(inside);
    void *data;
    size_t len;
    cr_assert(file_read(path, 0, &data, &len, &e) == MARE_OK && len == 3);
    free(data);
}

typedef struct writer {
    char fill;
    atomic_bool *stop;
    bool failed;
} writer;

static void *write_often(void *arg) {
    writer *w = arg;
    static _Thread_local char block[20000];
    memset(block, w->fill, sizeof block);
    while (!*w->stop)
        w->failed |= file_write(path, block, sizeof block, NULL) != MARE_OK;
    return NULL;
}

/* Readers see one writer's whole file or the other's. */
Test(base, file_write_is_atomic, .init = make_folder, .fini = drop_folder, .timeout = 60) {
    atomic_bool stop = false;
    writer w[2] = {{'a', &stop, false}, {'b', &stop, false}};
    pthread_t thread[2];
    cr_assert(file_write(path, "", 0, NULL) == MARE_OK);
    for (int i = 0; i < 2; i++)
        cr_assert(pthread_create(&thread[i], NULL, write_often, &w[i]) == 0);
    int torn = 0;
    for (int i = 0; i < 300; i++) {
        char *data;
        size_t len;
        cr_assert(file_read(path, 0, (void **)&data, &len, NULL) == MARE_OK);
        torn += len != 0 && (len != 20000 || strspn(data, data[0] == 'a' ? "a" : "b") != len);
        free(data);
    }
    stop = true;
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    cr_expect(torn == 0 && !w[0].failed && !w[1].failed);
}

Test(base, file_make_dir, .init = make_folder, .fini = drop_folder) {
    mare_error e = {0};
    char deep[300], longer[5000];
    snprintf(deep, sizeof deep, "%s/a//b/c/", folder);
    cr_expect(file_make_dir(deep, &e) == MARE_OK, "%s", e.text);
    cr_expect(file_make_dir(deep, &e) == MARE_OK, "twice is fine");
    struct stat st;
    cr_expect(stat(deep, &st) == 0 && S_ISDIR(st.st_mode));
    const char *parts[] = {"a//b/c", "a/b", "a"};
    for (int i = 0; i < 3; i++) {
        snprintf(deep, sizeof deep, "%s/%s", folder, parts[i]);
        rmdir(deep);
    }
    cr_assert(file_write(path, "x", 1, &e) == MARE_OK);
    snprintf(deep, sizeof deep, "%s/below", path);
    cr_expect(file_make_dir(deep, &e) == MARE_E_IO, "below a file");
    cr_expect(file_make_dir("", &e) == MARE_E_IO);
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    cr_expect(file_make_dir(longer, &e) == MARE_E_IO);
}

Test(base, cache_folder) {
    char dir[100];
    setenv("MARE_CACHE", "/m", 1);
    setenv("XDG_CACHE_HOME", "/x", 1);
    setenv("HOME", "/h", 1);
    file_cache_dir(dir, sizeof dir);
    cr_expect(strcmp(dir, "/m") == 0);
    setenv("MARE_CACHE", "", 1);
    file_cache_dir(dir, sizeof dir);
    cr_expect(strcmp(dir, "/x/mare") == 0);
    unsetenv("XDG_CACHE_HOME");
    file_cache_dir(dir, sizeof dir);
    cr_expect(strcmp(dir, "/h/.cache/mare") == 0);
    unsetenv("HOME");
    file_cache_dir(dir, sizeof dir);
    cr_expect(strcmp(dir, "") == 0);
}

/* ---- Threads ------------------------------------------------------------------------------ */

static atomic_int done;

static void count_up(void *arg) {
    atomic_fetch_add(&done, *(int *)arg);
}

Test(base, thread_pool_runs_every_job, .timeout = 30) {
    int one = 1;
    for (int n = 0; n <= 8; n += 4) {
        done = 0;
        thread_pool *p;
        cr_assert(thread_pool_create(n, &p, NULL) == MARE_OK);
        for (int i = 0; i < 5000; i++)
            cr_assert(thread_pool_add(p, count_up, &one));
        thread_pool_destroy(p);
        cr_expect(done == 5000, "%d threads did %d of 5000 jobs", n, done);
    }
    thread_pool_destroy(NULL);
    cr_expect(thread_count() >= 1);
}

static void meet(void *arg) {
    pthread_barrier_wait(arg);
}

/* Two jobs that wait for each other end only when two threads run them. */
Test(base, thread_pool_runs_side_by_side, .timeout = 30) {
    pthread_barrier_t b;
    pthread_barrier_init(&b, NULL, 2);
    thread_pool *p;
    cr_assert(thread_pool_create(2, &p, NULL) == MARE_OK);
    cr_assert(thread_pool_add(p, meet, &b) && thread_pool_add(p, meet, &b));
    thread_pool_destroy(p);
    pthread_barrier_destroy(&b);
}
