#define _POSIX_C_SOURCE 200809L
/* Timed submissions, for the tuner; and profiling, which times dispatch by dispatch. */
#include "device/internal.h"

#include <math.h>
#include <time.h>

enum {
    LOOKS = 8,         /* at both clocks at once; the narrowest counts */
    WRITTEN_MOST = 256 /* query pools before they are read */
};

static int queries_move(query_pool **from, query_pool **to) {
    int n = 0;
    for (query_pool *q; (q = *from); n++) {
        *from = q->next;
        q->next = *to;
        *to = q;
    }
    return n;
}

void profile_free(dev_device *d) {
    d->fn.vkDestroyCommandPool(d->handle, d->profile.pool, NULL);
    d->fn.vkDestroyQueryPool(d->handle, d->profile.queries, NULL);
    queries_move(&d->profile.written, &d->profile.free);
    for (query_pool *q; (q = d->profile.free);) {
        d->profile.free = q->next;
        d->fn.vkDestroyQueryPool(d->handle, q->handle, NULL);
        free(q);
    }
    vec_free(&d->profile.unread);
    vec_free(&d->profile.stamped);
    vec_free(&d->profile.runs);
    vec_free(&d->profile.waits);
}

double dev_clock(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- One recorder, timed as a whole -------------------------------------------------------- */

static VkResult record_stamp(dev_device *d, uint32_t i) {
    VkCommandBuffer cmd = d->profile.cmds[i];
    VkCommandBufferBeginInfo begin = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_BEGIN_INFO};
    VkResult r = d->fn.vkBeginCommandBuffer(cmd, &begin);
    if (r) return r;
    if (!i) d->fn.vkCmdResetQueryPool(cmd, d->profile.queries, 0, 2);
    full_barrier(d, cmd);
    d->fn.vkCmdWriteTimestamp(cmd, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, d->profile.queries, i);
    return d->fn.vkEndCommandBuffer(cmd);
}

static VkResult profile_init(dev_device *d) {
    if (d->profile.cmds[1]) return VK_SUCCESS;
    VkQueryPoolCreateInfo queries = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                     .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                     .queryCount = 2};
    VkCommandPoolCreateInfo pool = {.sType = VK_STRUCTURE_TYPE_COMMAND_POOL_CREATE_INFO,
                                    .queueFamilyIndex = d->family};
    VkResult r = VK_SUCCESS;
    if (!d->profile.queries)
        r = d->fn.vkCreateQueryPool(d->handle, &queries, NULL, &d->profile.queries);
    if (!r && !d->profile.pool)
        r = d->fn.vkCreateCommandPool(d->handle, &pool, NULL, &d->profile.pool);
    VkCommandBufferAllocateInfo info = {.sType = VK_STRUCTURE_TYPE_COMMAND_BUFFER_ALLOCATE_INFO,
                                        .commandPool = d->profile.pool,
                                        .level = VK_COMMAND_BUFFER_LEVEL_PRIMARY,
                                        .commandBufferCount = 2};
    VkCommandBuffer cmds[2] = {0};
    if (!r) r = d->fn.vkAllocateCommandBuffers(d->handle, &info, cmds);
    if (r) return r;
    d->profile.cmds[0] = cmds[0];
    d->profile.cmds[1] = cmds[1];
    for (uint32_t i = 0; i < 2 && !r; i++)
        r = record_stamp(d, i);
    if (!r) return r;
    d->fn.vkFreeCommandBuffers(d->handle, d->profile.pool, 2, cmds);
    d->profile.cmds[0] = d->profile.cmds[1] = VK_NULL_HANDLE;
    return r;
}

mare_status dev_submit_timed(dev_recorder *r, double *seconds) {
    dev_device *d = r->d;
    *seconds = 0;
    mare_status s = dev_wait(d);
    if (s) {
        dev_discard(r);
        return s;
    }
    bool stamps = d->caps.has[DEV_TIMESTAMPS] && !profile_init(d);
    double start = dev_clock();
    s = recorder_submit(r, stamps ? d->profile.cmds[0] : VK_NULL_HANDLE,
                        stamps ? d->profile.cmds[1] : VK_NULL_HANDLE);
    if (!s) s = queue_wait(d, d->submitted);
    if (s) return s;
    *seconds = dev_clock() - start;
    if (!stamps) return MARE_OK;
    uint64_t t[2];
    VkResult res =
        d->fn.vkGetQueryPoolResults(d->handle, d->profile.queries, 0, 2, sizeof t, t, sizeof *t,
                                    VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
    if (res) return vk_failed(d, res, "vkGetQueryPoolResults");
    uint64_t ticks = (t[1] - t[0]) & d->profile.mask;
    double measured = (double)ticks * d->caps.timestamp_ns * 1e-9;
    /* A clock that stood still, or ran over, tells nothing; the host's does. */
    if (ticks && measured <= *seconds) *seconds = measured;
    return MARE_OK;
}

/* ---- Profiling ------------------------------------------------------------------------------ */

/* A query pool with room for two timestamps at the head of r's list. */
static mare_status queries_get(dev_recorder *r, query_pool **out) {
    dev_device *d = r->d;
    *out = r->queries;
    if (r->queries && r->queries->used < QUERIES) return MARE_OK;
    query_pool *q = d->profile.free;
    if (q) {
        d->profile.free = q->next;
    } else {
        q = calloc(1, sizeof *q);
        if (!q) return error_no_memory(d->e, sizeof *q);
        VkQueryPoolCreateInfo info = {.sType = VK_STRUCTURE_TYPE_QUERY_POOL_CREATE_INFO,
                                      .queryType = VK_QUERY_TYPE_TIMESTAMP,
                                      .queryCount = QUERIES};
        VkResult res = d->fn.vkCreateQueryPool(d->handle, &info, NULL, &q->handle);
        if (res) {
            free(q);
            return vk_failed(d, res, "vkCreateQueryPool");
        }
    }
    q->used = 0;
    q->next = r->queries;
    *out = r->queries = q;
    d->fn.vkCmdResetQueryPool(r->cmd, q->handle, 0, QUERIES);
    return MARE_OK;
}

/* Written when all commands before it are done. */
static void stamp(dev_recorder *r, VkQueryPool pool, uint32_t query) {
    r->d->fn.vkCmdWriteTimestamp(r->cmd, VK_PIPELINE_STAGE_BOTTOM_OF_PIPE_BIT, pool, query);
}

mare_status dev_cmd_time(dev_recorder *r, uint32_t id) {
    dev_device *d = r->d;
    query_pool *q = NULL;
    if (d->profile.stamps) {
        mare_status s = queries_get(r, &q);
        if (s) return s;
    }
    timed t = {id, q ? q->used : 0, q ? q->handle : VK_NULL_HANDLE};
    if (!vec_push(&r->timed, t)) return error_no_memory(d->e, sizeof t);
    r->timing = true;
    full_barrier(d, r->cmd);
    if (!q) return MARE_OK;
    stamp(r, t.pool, t.first);
    q->used += 2;
    return MARE_OK;
}

void dev_cmd_time_end(dev_recorder *r) {
    if (!r->timing) return;
    r->timing = false;
    const timed *t = &r->timed.data[r->timed.len - 1];
    if (!t->pool) return;
    stamp(r, t->pool, t->first + 1);
}

/* Timestamps run over, and those of some devices go back a little. */
static uint64_t unwrap(profile_state *p, uint64_t raw) {
    if (!p->seen) p->last = raw & p->mask;
    p->seen = true;
    uint64_t ahead = (raw - p->last) & p->mask;
    if (ahead <= p->mask / 2) p->last += ahead;
    return p->last;
}

/* Reads the timestamps that recorders left. Drivers may let the whole device come to rest for that,
 * so it is done seldom. */
static void read_stamps(dev_device *d) {
    profile_state *p = &d->profile;
    for (size_t i = 0; i < p->unread.len && !atomic_load(&d->lost); i++) {
        const timed *t = &p->unread.data[i];
        uint64_t at[2];
        VkResult res =
            d->fn.vkGetQueryPoolResults(d->handle, t->pool, t->first, 2, sizeof at, at, sizeof *at,
                                        VK_QUERY_RESULT_64_BIT | VK_QUERY_RESULT_WAIT_BIT);
        if (res) {
            p->failed = vk_failed(d, res, "vkGetQueryPoolResults");
            continue;
        }
        stamped s = {.begin = unwrap(p, at[0]), .id = t->id};
        s.end = unwrap(p, at[1]);
        if (!vec_push(&p->stamped, s)) p->failed = error_no_memory(d->e, sizeof s);
    }
    p->unread.len = 0;
    p->n_written = 0;
    queries_move(&p->written, &p->free);
}

void profile_collect(dev_recorder *r) {
    profile_state *p = &r->d->profile;
    if (!p->stamps) return;
    for (size_t i = 0; i < r->timed.len; i++)
        if (!vec_push(&p->unread, r->timed.data[i]))
            p->failed = error_no_memory(r->d->e, sizeof *r->timed.data);
    p->n_written += queries_move(&r->queries, &p->written);
    if (p->n_written >= WRITTEN_MOST) read_stamps(r->d);
}

void profile_recycle(dev_recorder *r) {
    r->timed.len = 0;
    r->timing = false;
    queries_move(&r->queries, &r->d->profile.free);
}

mare_status profile_submit(dev_recorder *r) {
    dev_device *d = r->d;
    dev_timing t = {.id = r->timed.data[0].id};
    mare_status s = queue_wait(d, d->submitted);
    if (s) {
        recorder_recycle(r);
        return s;
    }
    t.start = dev_clock();
    s = recorder_submit(r, VK_NULL_HANDLE, VK_NULL_HANDLE);
    if (!s) s = queue_wait(d, d->submitted);
    t.end = dev_clock();
    if (!s && !vec_push(&d->profile.runs, t)) s = error_no_memory(d->e, sizeof t);
    return s;
}

void profile_waited(dev_device *d, double start) {
    dev_timing t = {start, dev_clock(), 0};
    if (!vec_push(&d->profile.waits, t)) d->profile.failed = error_no_memory(d->e, sizeof t);
}

/* Looks at both clocks: a timestamp is written while the host waits for it. */
static mare_status look(dev_device *d, anchor *out) {
    double narrowest = INFINITY;
    for (int i = 0; i < LOOKS; i++) {
        dev_recorder *r;
        mare_status s = dev_record(d, &r);
        if (s) return s;
        s = dev_cmd_time(r, 0);
        if (s) {
            dev_discard(r);
            return s;
        }
        dev_cmd_time_end(r);
        double before = dev_clock();
        s = recorder_submit(r, VK_NULL_HANDLE, VK_NULL_HANDLE);
        if (!s) s = queue_wait(d, d->submitted);
        double after = dev_clock();
        if (!s) read_stamps(d);
        if (!s) s = d->profile.failed;
        if (!s) s = check_lost(d, d->e);
        if (s) return s;
        stamped at = d->profile.stamped.data[--d->profile.stamped.len];
        if (after - before >= narrowest) continue;
        narrowest = after - before;
        *out = (anchor){at.begin, before + narrowest / 2};
    }
    return MARE_OK;
}

bool dev_profile_stamps(const dev_device *d) {
    return d->profile.stamps;
}

/* Do the timestamps work? Some devices claim to have a clock that stands still. */
static mare_status start_stamps(dev_device *d) {
    profile_state *p = &d->profile;
    anchor first;
    p->stamps = d->caps.has[DEV_TIMESTAMPS];
    if (!p->stamps) return MARE_OK;
    mare_status s = look(d, &first);
    if (!s) s = look(d, &p->begin);
    if (s) p->stamps = false;
    if (!s && p->begin.ticks == first.ticks) p->stamps = false;
    return s;
}

mare_status dev_profile_start(dev_device *d) {
    profile_state *p = &d->profile;
    mare_status s = dev_wait(d);
    if (s) return s;
    p->stamped.len = p->runs.len = p->waits.len = 0;
    p->failed = MARE_OK;
    p->seen = false;
    s = start_stamps(d);
    p->on = !s;
    return s;
}

/* From the device's clock to the host's. Over a long time the quartzes drift apart; over a short
 * one the looks at both clocks are the less exact measure. */
static mare_status to_host(dev_device *d) {
    profile_state *p = &d->profile;
    anchor end;
    mare_status s = look(d, &end);
    if (s) return s;
    double tick = d->caps.timestamp_ns * 1e-9, seconds = end.host - p->begin.host;
    if (seconds > 1 && end.ticks > p->begin.ticks)
        tick = seconds / (double)(end.ticks - p->begin.ticks);
    for (size_t i = 0; i < p->stamped.len; i++) {
        const stamped *t = &p->stamped.data[i];
        double from = p->begin.host + (double)(t->begin - p->begin.ticks) * tick;
        dev_timing run = {from, from + (double)(t->end - t->begin) * tick, t->id};
        if (!vec_push(&p->runs, run)) return error_no_memory(d->e, sizeof run);
    }
    return MARE_OK;
}

mare_status dev_profile_stop(dev_device *d, dev_profile *out) {
    profile_state *p = &d->profile;
    mare_status s = dev_wait(d);
    p->on = false;
    read_stamps(d);
    if (!s && p->stamps) s = to_host(d);
    if (!s) s = p->failed;
    p->stamps = false;
    *out = (dev_profile){0};
    if (s) return s;
    *out = (dev_profile){p->runs.data, p->waits.data, p->runs.len, p->waits.len};
    p->runs.data = p->waits.data = NULL; /* they are the caller's now */
    vec_free(&p->runs);
    vec_free(&p->waits);
    return MARE_OK;
}
