#define _POSIX_C_SOURCE 200809L
/* Data to the device and back: through staging memory, or directly where host and device share
 * memory and the device is not using the buffer. */
#include "device/internal.h"

#include <string.h>

static mare_status check_range(dev_device *d, const char *call, const dev_buffer *b,
                               uint64_t offset, const void *data, uint64_t bytes) {
    mare_status s = check_lost(d, d->e);
    if (s) return s;
    if (!b || b->d != d)
        return error_set(d->e, MARE_E_ARGUMENT, "%s: the buffer is %s", call,
                         b ? "of another device" : "null");
    if (offset > b->bytes || bytes > b->bytes - offset)
        return error_set(d->e, MARE_E_ARGUMENT,
                         "%s: %llu bytes at offset %llu do not fit a buffer of %llu bytes", call,
                         (unsigned long long)bytes, (unsigned long long)offset,
                         (unsigned long long)b->bytes);
    if (bytes && !data) return error_set(d->e, MARE_E_ARGUMENT, "%s: the data is null", call);
    return MARE_OK;
}

mare_status transfer_flush(dev_device *d) {
    dev_recorder *r = d->uploads;
    d->uploads = NULL;
    if (r) dev_cmd_time_end(r);
    return r ? recorder_submit(r, VK_NULL_HANDLE, VK_NULL_HANDLE) : MARE_OK;
}

/* A recorder for copies, which are timed where the device has timestamps. */
static mare_status copy_record(dev_device *d, dev_recorder **out) {
    mare_status s = dev_record(d, out);
    if (!s && d->profile.stamps && dev_cmd_time(*out, DEV_COPY)) d->profile.failed = d->e->code;
    return s;
}

/* A staging chunk with room, at the head of r's list. When there are enough of them, waits until
 * the device is done with one. */
static mare_status staging_get(dev_device *d, chunk **out) {
    queue_poll(d);
    if (!d->free_staging && d->staging >= STAGING_MOST && d->staging >= d->staging_most) {
        mare_status s = transfer_flush(d);
        while (!s && !d->free_staging && d->flying.first)
            s = queue_wait(d, d->flying.first->serial);
        if (s) return s;
    }
    chunk *c = d->free_staging;
    if (c) {
        d->free_staging = c->next;
    } else {
        mare_status s =
            chunk_create(d, STAGING_CHUNK,
                         VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT, &c);
        if (s) return s;
        d->staging++;
    }
    c->next = NULL;
    *out = c;
    return MARE_OK;
}

/* Room for some of `want` bytes in the open batch of uploads. */
static mare_status upload_room(dev_device *d, uint64_t want, chunk **out, uint64_t *room) {
    chunk *c = d->uploads ? d->uploads->staging : NULL;
    if (!c || c->bytes - c->used < (want < 65536 ? want : 65536)) {
        mare_status s = staging_get(d, &c);
        if (s) return s;
        if (!d->uploads) s = copy_record(d, &d->uploads);
        if (s) {
            c->next = d->free_staging;
            d->free_staging = c;
            return s;
        }
        c->next = d->uploads->staging;
        d->uploads->staging = c;
    }
    *out = c;
    *room = c->bytes - c->used < want ? c->bytes - c->used : want;
    return MARE_OK;
}

mare_status dev_upload(dev_device *d, dev_buffer *b, uint64_t offset, const void *data,
                       uint64_t bytes) {
    mare_status s = check_range(d, "upload", b, offset, data, bytes);
    if (s || !bytes) return s;
    if (b->at->in->map) {
        if (b->at->last_use > d->completed) queue_poll(d);
        if (b->at->last_use <= d->completed) {
            memcpy(b->at->in->map + b->at->offset + offset, data, bytes);
            return MARE_OK;
        }
    }
    const uint8_t *from = data;
    /* Batches of the largest size can be on their way without a wait. */
    uint64_t most = (bytes + STAGING_CHUNK - 1) / STAGING_CHUNK * STAGING_UPLOADS;
    if (most > STAGING_LIMIT) most = STAGING_LIMIT;
    if (most > (uint64_t)d->staging_most) d->staging_most = (int)most;
    while (bytes) {
        chunk *c;
        uint64_t n;
        s = upload_room(d, bytes, &c, &n);
        if (s) return s;
        dev_recorder *r = d->uploads;
        if (!recorder_hold(r, b)) return error_no_memory(d->e, sizeof b);
        memcpy(c->map + c->used, from, n);
        VkBufferCopy copy = {c->used, b->at->offset + offset, n};
        dev_cmd_barrier(r);
        d->fn.vkCmdCopyBuffer(r->cmd, c->buffer, b->at->in->buffer, 1, &copy);
        b->at->last_use = d->submitted + 1;
        c->used += (n + 15) / 16 * 16;
        from += n;
        offset += n;
        bytes -= n;
    }
    return MARE_OK;
}

/* One piece through a staging chunk. */
static mare_status download_piece(dev_device *d, dev_buffer *b, uint64_t offset, uint8_t *to,
                                  uint64_t bytes) {
    chunk *c;
    dev_recorder *r;
    mare_status s = staging_get(d, &c);
    if (s) return s;
    s = copy_record(d, &r);
    if (s) {
        c->next = d->free_staging;
        d->free_staging = c;
        return s;
    }
    r->staging = c;
    if (!recorder_hold(r, b)) {
        dev_discard(r);
        return error_no_memory(d->e, sizeof b);
    }
    VkBufferCopy copy = {b->at->offset + offset, 0, bytes};
    d->fn.vkCmdCopyBuffer(r->cmd, b->at->in->buffer, c->buffer, 1, &copy);
    dev_cmd_time_end(r);
    s = recorder_submit(r, VK_NULL_HANDLE, VK_NULL_HANDLE);
    if (!s) s = queue_wait(d, d->submitted);
    /* The chunk is free again, but nobody takes it before this call ends. */
    if (!s) memcpy(to, c->map, bytes);
    return s;
}

mare_status dev_download(dev_device *d, dev_buffer *b, uint64_t offset, void *data,
                         uint64_t bytes) {
    mare_status s = check_range(d, "download", b, offset, data, bytes);
    if (!s) s = transfer_flush(d);
    if (s || !bytes) return s;
    uint8_t *to = data;
    if (b->at->in->map && d->mem.cached) {
        s = queue_wait(d, b->at->last_use);
        if (!s) memcpy(to, b->at->in->map + b->at->offset + offset, bytes);
        return s;
    }
    while (!s && bytes) {
        uint64_t n = bytes < STAGING_CHUNK ? bytes : STAGING_CHUNK;
        s = download_piece(d, b, offset, to, n);
        to += n;
        offset += n;
        bytes -= n;
    }
    return s;
}
