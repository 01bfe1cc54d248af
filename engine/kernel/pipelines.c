/* The driver's pipelines on disk: one file a driver and device, to which every process adds. */
#include "kernel/internal.h"

#include "base/file.h"

#include <stdio.h>
#include <stdlib.h>

/* A process that holds the lock merges and writes one file. One that was stopped meanwhile must
 * not stop others: they write without the lock then, and may lose what it adds. */
enum { LOCK_WAIT_MS = 2000 };

/* The driver's pipelines fit one driver of one device. */
static text entry_id(const dev_caps *caps) {
    text id = {0};
    text_add(&id, "%x %x %x ", caps->vendor, caps->device_id, caps->driver_version);
    text_bytes(&id, caps->cache_uuid, sizeof caps->cache_uuid);
    return id;
}

void pipelines_load(kernels *k) {
    text id = entry_id(dev_get_caps(k->d));
    void *data;
    size_t len;
    if (cache_read(k->dir, "pipelines", &id, &data, &len)) {
        dev_pipeline_cache_load(k->d, data, len);
        free(data);
    }
    text_free(&id);
}

static void merge(kernels *k) {
    char path[4096];
    snprintf(path, sizeof path, "%s/lock", k->dir);
    int lock = file_lock(path, LOCK_WAIT_MS);
    text id = entry_id(dev_get_caps(k->d));
    void *before = NULL, *data;
    size_t before_len = 0, len;
    cache_read(k->dir, "pipelines", &id, &before, &before_len);
    if (dev_pipeline_cache_save(k->d, before, before_len, &data, &len, NULL) == MARE_OK)
        cache_write(k->dir, "pipelines", &id, data, len);
    file_unlock(lock);
    text_free(&id);
    free(before);
    free(data);
}

void pipelines_save(kernels *k) {
    pthread_mutex_lock(&k->lock);
    uint64_t made = k->made;
    bool news = made > k->saved;
    pthread_mutex_unlock(&k->lock);
    if (!news || !k->dir[0] || file_make_dir(k->dir, NULL) != MARE_OK) return;
    merge(k);
    pthread_mutex_lock(&k->lock);
    k->saved = made;
    pthread_mutex_unlock(&k->lock);
}

/* ---- While the process runs ---------------------------------------------------------------- */

static void save_job(void *arg) {
    kernels *k = arg;
    pipelines_save(k);
    pthread_mutex_lock(&k->lock);
    k->saving = false;
    pipelines_save_later(k); /* more may have been made meanwhile */
    pthread_mutex_unlock(&k->lock);
}

/* A process that ends cleanly saves all. One that is killed loses what it made since the last save,
 * an eighth at most: so many may be made between two saves, and all saves together write no more
 * than a few times what the last one does. */
void pipelines_save_later(kernels *k) {
    uint64_t news = k->made - k->saved;
    if (!k->workers || k->ending || k->saving || k->jobs) return;
    if (!news || news < k->saved / 8) return;
    k->saving = thread_pool_add(k->workers, save_job, k);
}
