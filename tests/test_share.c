/* Several processes and devices over one cache folder at the same time. */
#define _GNU_SOURCE
#include "base/file.h"
#include "base/rng.h"
#include "base/thread.h"
#include "device/internal.h"
#include "kernel_kit.h"

#include <signal.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

TestSuite(share, .init = kit_open, .fini = kit_close, .timeout = 300);

/* ---- Processes ---------------------------------------------------------------------------- */

enum { CHILDREN = 6, PINS = 4, WHOLE_LIFE = -1, MOST_MS = 250 };

static tune_candidate two[2] = {{.name = "a", .kernel = {.shader = "t/work.comp", .defines = ""}},
                                {.name = "b", .kernel = {.shader = "t/work.comp", .defines = ""}}};

static int pinned(int child, int i, char key[32]) {
    snprintf(key, 32, "child %d/%d", child, i);
    return tune_known(k, &(tune_problem){.key = key, .candidates = two, .n = 2});
}

/* Uses every kernel, beginning with one of its own, and leaves records of its own. */
static int use_all(int child) {
    char key[32];
    if (dev_create(&(dev_options){.device = getenv("MARE_DEVICE"), .caps = getenv("MARE_CAPS")},
                   &error, &device) ||
        kernels_create(device, &error, &k))
        return 1;
    if (child % 2) prefetch_all();
    bool ok = true;
    for (int i = 0; i < KERNELS && ok; i++)
        ok = kit_right((i + 3 * child) % KERNELS);
    for (int i = 0; i < PINS && ok; i++) {
        pinned(child, i, key);
        ok = tune_pin(k, key, "b") == MARE_OK;
    }
    kernels_destroy(k);
    dev_destroy(device);
    return !ok;
}

/* Runs the children at the same time, each to its end or killed after so many milliseconds. */
static void run_children(const int life_ms[CHILDREN]) {
    pid_t child[CHILDREN];
    close_device();
    fflush(NULL);
    for (int i = 0; i < CHILDREN; i++) {
        child[i] = fork();
        cr_assert(child[i] >= 0);
        if (!child[i]) _exit(use_all(i));
    }
    for (int now = 0, next; now < MOST_MS; now = next) {
        next = MOST_MS;
        for (int i = 0; i < CHILDREN; i++)
            if (life_ms[i] == now)
                kill(child[i], SIGKILL);
            else if (life_ms[i] > now && life_ms[i] < next)
                next = life_ms[i];
        nanosleep(&(struct timespec){.tv_nsec = (next - now) * 1000000}, NULL);
    }
    for (int i = 0; i < CHILDREN; i++) {
        int status;
        cr_assert(waitpid(child[i], &status, 0) == child[i]);
        cr_expect((WIFEXITED(status) && WEXITSTATUS(status) == 0) ||
                      (life_ms[i] != WHOLE_LIFE && WIFSIGNALED(status)),
                  "child %d: status %x", i, status);
    }
    open_device();
}

/* Everything works, and what was made is found by the next start. */
static void expect_whole(const int life_ms[CHILDREN]) {
    char key[32];
    for (int i = 0; i < CHILDREN; i++)
        for (int j = 0; j < PINS && life_ms[i] == WHOLE_LIFE; j++)
            cr_expect(pinned(i, j, key) == 1, "the record of '%s' was lost", key);
    for (int i = 0; i < KERNELS; i++)
        expect_right(i);
    reopen();
    for (int i = 0; i < KERNELS; i++)
        expect_right(i);
    cr_expect(stats().compiled == 0 && stats().from_disk == TEXTS);
}

Test(share, processes_that_live) {
    static const int live[CHILDREN] = {WHOLE_LIFE, WHOLE_LIFE, WHOLE_LIFE,
                                       WHOLE_LIFE, WHOLE_LIFE, WHOLE_LIFE};
    run_children(live);
    for (int i = 0; i < KERNELS; i++)
        expect_right(i);
    cr_expect(stats().compiled == 0 && stats().from_disk == TEXTS);
    expect_whole(live);
    cr_expect(tree_cached("spirv-", NULL) == TEXTS, "nothing half is left");
}

Test(share, processes_that_are_killed) {
    rng r = {.seed = 4};
    for (int round = 0; round < 6; round++) {
        int life_ms[CHILDREN];
        for (int i = 0; i < CHILDREN; i++) {
            int ms = (int)rng_below(&r, MOST_MS);
            life_ms[i] = i % 3 == round % 3 ? WHOLE_LIFE : ms;
        }
        char path[512];
        for (int i = 0; i < TEXTS / 2 && tree_cached("spirv-", path); i++)
            cr_assert(remove(path) == 0); /* half filled */
        if (round % 2 && tree_cached("pipelines-", path)) cr_assert(remove(path) == 0);
        run_children(life_ms);
        expect_whole(life_ms);
    }
}

/* ---- A driver with pipelines to keep ------------------------------------------------------ */

/* Software drivers keep nothing in a VkPipelineCache. This one keeps the second specialisation
 * constant of each pipeline made. */
typedef struct fake {
    pthread_mutex_t lock;
    uint32_t n, id[256];
} fake;

static fake *fake_of(VkPipelineCache c) {
    return (fake *)(uintptr_t)c;
}

static void add(fake *f, uint32_t id) {
    pthread_mutex_lock(&f->lock);
    uint32_t i = 0;
    while (i < f->n && f->id[i] != id)
        i++;
    f->id[i] = id;
    if (i == f->n) f->n++;
    pthread_mutex_unlock(&f->lock);
}

static VkResult fake_create(VkDevice d, const VkPipelineCacheCreateInfo *info,
                            const VkAllocationCallbacks *a, VkPipelineCache *out) {
    (void)d, (void)a;
    fake *f = calloc(1, sizeof *f);
    pthread_mutex_init(&f->lock, NULL);
    for (size_t i = 0; i + 4 <= info->initialDataSize; i += 4) {
        uint32_t id;
        memcpy(&id, (const char *)info->pInitialData + i, 4);
        add(f, id);
    }
    *out = (VkPipelineCache)(uintptr_t)f;
    return VK_SUCCESS;
}

static void fake_destroy(VkDevice d, VkPipelineCache c, const VkAllocationCallbacks *a) {
    (void)d, (void)a;
    free(fake_of(c));
}

static VkResult fake_merge(VkDevice d, VkPipelineCache to, uint32_t n,
                           const VkPipelineCache *from) {
    (void)d;
    for (uint32_t j = 0; j < n; j++) {
        fake *f = fake_of(from[j]);
        pthread_mutex_lock(&f->lock);
        for (uint32_t i = 0; i < f->n; i++)
            add(fake_of(to), f->id[i]);
        pthread_mutex_unlock(&f->lock);
    }
    return VK_SUCCESS;
}

static VkResult fake_data(VkDevice d, VkPipelineCache c, size_t *size, void *data) {
    (void)d;
    fake *f = fake_of(c);
    pthread_mutex_lock(&f->lock);
    size_t all = f->n * sizeof f->id[0];
    VkResult r = data && *size < all ? VK_INCOMPLETE : VK_SUCCESS;
    if (!data || *size > all) *size = all;
    if (data) memcpy(data, f->id, *size);
    pthread_mutex_unlock(&f->lock);
    return r;
}

static PFN_vkCreateComputePipelines real_pipelines;

static VkResult fake_pipelines(VkDevice d, VkPipelineCache c, uint32_t n,
                               const VkComputePipelineCreateInfo *info,
                               const VkAllocationCallbacks *a, VkPipeline *out) {
    add(fake_of(c), ((const uint32_t *)info->stage.pSpecializationInfo->pData)[1]);
    return real_pipelines(d, VK_NULL_HANDLE, n, info, a, out);
}

/* A device whose driver is the fake one, with its kernels. */
typedef struct owner {
    dev_device *d;
    kernels *k;
    mare_error error;
} owner;

static void open_owner(owner *o) {
    dev_options options = {.device = getenv("MARE_DEVICE"), .caps = getenv("MARE_CAPS")};
    cr_assert(dev_create(&options, &o->error, &o->d) == MARE_OK);
    struct VolkDeviceTable *fn = &o->d->fn;
    fn->vkDestroyPipelineCache(o->d->handle, o->d->pipes.cache, NULL);
    real_pipelines = fn->vkCreateComputePipelines;
    fn->vkCreatePipelineCache = fake_create;
    fn->vkDestroyPipelineCache = fake_destroy;
    fn->vkMergePipelineCaches = fake_merge;
    fn->vkGetPipelineCacheData = fake_data;
    fn->vkCreateComputePipelines = fake_pipelines;
    VkPipelineCacheCreateInfo none = {.sType = VK_STRUCTURE_TYPE_PIPELINE_CACHE_CREATE_INFO};
    fake_create(o->d->handle, &none, NULL, &o->d->pipes.cache);
    cr_assert(kernels_create(o->d, &o->error, &o->k) == MARE_OK);
}

static void make(owner *o, uint32_t first, uint32_t n) {
    for (uint32_t i = first; i < first + n; i++) {
        dev_pipeline *p;
        kernel_id id = {"t/work.comp", "BASE 1\n", 1, 2, {32, i}, NULL};
        if (i % 2) kernel_prefetch(o->k, &id);
        cr_assert(kernel_get(o->k, &id, &p) == MARE_OK, "%s", o->error.text);
    }
}

static void end(void *arg) {
    owner *o = arg;
    kernels_destroy(o->k);
    o->k = NULL;
}

/* Pipelines that a new start finds. */
static uint32_t found(void) {
    owner o;
    open_owner(&o);
    uint32_t n = fake_of(o.d->pipes.cache)->n;
    end(&o);
    dev_destroy(o.d);
    return n;
}

Test(share, pipelines_of_all_are_kept) {
    enum { OWNERS = 4, EACH = 5, ROUNDS = 6 };
    owner o[OWNERS];
    for (uint32_t round = 0; round < ROUNDS; round++) {
        thread_pool *pool;
        cr_assert(thread_pool_create(OWNERS, &pool, NULL) == MARE_OK);
        for (uint32_t i = 0; i < OWNERS; i++)
            open_owner(&o[i]);
        for (uint32_t i = 0; i < OWNERS; i++)
            make(&o[i], (round * OWNERS + i) * EACH, EACH);
        for (int i = 0; i < OWNERS; i++) /* all at once */
            cr_assert(thread_pool_add(pool, end, &o[i]));
        thread_pool_destroy(pool);
        for (int i = 0; i < OWNERS; i++)
            dev_destroy(o[i].d);
        cr_assert(found() == (round + 1) * OWNERS * EACH, "%u", found());
    }
}

Test(share, a_held_lock_holds_nobody_up) {
    owner o;
    open_owner(&o);
    end(&o);
    cr_assert(file_make_dir(tree_path("cache"), NULL) == MARE_OK);
    int lock = file_lock(tree_path("cache/lock"), 0);
    cr_assert(lock >= 0);
    cr_expect(file_lock(tree_path("cache/lock"), 20) == -1, "one at a time");
    cr_assert(kernels_create(o.d, &o.error, &o.k) == MARE_OK);
    make(&o, 0, 3);
    end(&o);
    dev_destroy(o.d);
    cr_expect(found() == 3);
    file_unlock(lock);
    lock = file_lock(tree_path("cache/lock"), 0);
    cr_expect(lock >= 0);
    file_unlock(lock);
}
