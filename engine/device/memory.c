#define _POSIX_C_SOURCE 200809L
/* Device memory: blocks from the driver, cut into buffers, and kept when the buffers go.
 *
 * Work runs in the order of submission, and every submission starts with a barrier against the
 * ones before. So the memory of a released buffer can serve the next one at once, even while the
 * device still reads it; only the host, writing directly, has to look at `last_use`, and the
 * driver gets a block back when the device is idle. */
#include "device/internal.h"

#include <stdio.h>
#include <string.h>

enum { SMALL_LIMIT = 16 << 20, FIRST_BLOCK = 4 << 20, LARGEST_BLOCK = 64 << 20 };
enum { KEPT_LEAST = 256 << 20 /* bytes that are always kept */ };

/* ---- free memory by size ------------------------------------------------------------------ */

/* Four classes for each power of two, in units of BUFFER_ALIGN. */
static int bin_of(uint64_t bytes) {
    uint64_t u = bytes / BUFFER_ALIGN;
    if (u < 4) return (int)u;
    int log = 63 - __builtin_clzll(u);
    int bin = (log - 1) * 4 + (int)(u >> (log - 2) & 3);
    return bin < BINS ? bin : BINS - 1;
}

static void bin_put(range *r) {
    bin_pool *p = r->in->pool;
    int b = bin_of(r->bytes);
    r->owner = NULL;
    r->bin_prev = NULL;
    r->bin_next = p->bins[b];
    if (r->bin_next) r->bin_next->bin_prev = r;
    p->bins[b] = r;
    p->filled[b / 64] |= 1ull << (b % 64);
}

static void bin_take(range *r) {
    bin_pool *p = r->in->pool;
    int b = bin_of(r->bytes);
    if (r->bin_prev)
        r->bin_prev->bin_next = r->bin_next;
    else
        p->bins[b] = r->bin_next;
    if (r->bin_next) r->bin_next->bin_prev = r->bin_prev;
    if (!p->bins[b]) p->filled[b / 64] &= ~(1ull << (b % 64));
    r->bin_prev = r->bin_next = NULL;
}

/* The smallest free range for bytes that the device is not using, or null. */
static range *find_idle(const dev_device *d, const bin_pool *p, uint64_t bytes) {
    range *best = NULL;
    for (int b = bin_of(bytes); b < BINS && !best; b++)
        for (range *r = p->bins[b]; r; r = r->bin_next)
            if (r->bytes >= bytes && r->last_use <= d->completed &&
                (!best || r->bytes < best->bytes))
                best = r;
    return best;
}

/* The best of the class that bytes belongs to, else any of the next class that has some. */
static range *bin_find(const bin_pool *p, uint64_t bytes) {
    int b = bin_of(bytes);
    range *best = NULL;
    for (range *r = p->bins[b]; r; r = r->bin_next)
        if (r->bytes >= bytes && (!best || r->bytes < best->bytes)) best = r;
    if (best) return best;
    for (int w = ++b / 64; b < BINS && w < BINS / 64; w++) {
        uint64_t m = p->filled[w];
        if (w == b / 64) m &= ~0ull << (b % 64);
        if (m) return p->bins[w * 64 + __builtin_ctzll(m)];
    }
    return NULL;
}

/* Joins r with the neighbour behind it. */
static void range_join(range *r) {
    range *gone = r->after;
    r->bytes += gone->bytes;
    if (gone->last_use > r->last_use) r->last_use = gone->last_use;
    r->after = gone->after;
    if (r->after) r->after->before = r;
    free(gone);
}

static void range_free(range *r) {
    r->owner = NULL;
    if (r->after && !r->after->owner) {
        bin_take(r->after);
        range_join(r);
    }
    if (r->before && !r->before->owner) {
        r = r->before;
        bin_take(r);
        range_join(r);
    }
    bin_put(r);
}

/* Cuts bytes from the front of a free range. */
static bool range_cut(range *r, uint64_t bytes) {
    if (r->bytes == bytes) {
        bin_take(r);
        return true;
    }
    range *rest = malloc(sizeof *rest);
    if (!rest) return false;
    bin_take(r);
    *rest = *r;
    rest->before = r;
    rest->offset += bytes;
    rest->bytes -= bytes;
    if (rest->after) rest->after->before = rest;
    r->after = rest;
    r->bytes = bytes;
    bin_put(rest);
    return true;
}

/* ---- blocks ------------------------------------------------------------------------------- */

/* A memory type among `allowed` that has `must`, with most of `nice` and least of `not`. */
static int pick_type(const VkPhysicalDeviceMemoryProperties *m, uint32_t allowed,
                     VkMemoryPropertyFlags must, VkMemoryPropertyFlags nice,
                     VkMemoryPropertyFlags not ) {
    const VkMemoryPropertyFlags never =
        VK_MEMORY_PROPERTY_PROTECTED_BIT | VK_MEMORY_PROPERTY_LAZILY_ALLOCATED_BIT |
        VK_MEMORY_PROPERTY_DEVICE_COHERENT_BIT_AMD | VK_MEMORY_PROPERTY_DEVICE_UNCACHED_BIT_AMD;
    int best = -1, score = 0;
    for (uint32_t i = 0; i < m->memoryTypeCount; i++) {
        VkMemoryPropertyFlags f = m->memoryTypes[i].propertyFlags;
        if (!(allowed >> i & 1) || (f & must) != must || f & never) continue;
        int s = 64 + 8 * __builtin_popcount(f & nice) - __builtin_popcount(f & not );
        if (s > score) {
            score = s;
            best = (int)i;
        }
    }
    return best;
}

/* The memory type for buffers; on unified memory one that the host can map. */
static int block_type(const dev_device *d, uint32_t allowed) {
    const VkMemoryPropertyFlags local = VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT,
                                visible = VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT,
                                coherent = VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
                                cached = VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    if (d->mem.unified)
        return pick_type(&d->mem.types, allowed, local | visible | coherent, cached, 0);
    return pick_type(&d->mem.types, allowed, 0, local, visible);
}

static int chunk_type(const dev_device *d, uint32_t allowed) {
    return pick_type(&d->mem.types, allowed,
                     VK_MEMORY_PROPERTY_HOST_VISIBLE_BIT | VK_MEMORY_PROPERTY_HOST_COHERENT_BIT,
                     VK_MEMORY_PROPERTY_HOST_CACHED_BIT, VK_MEMORY_PROPERTY_DEVICE_LOCAL_BIT);
}

/* A VkBuffer with memory of its own, mapped when map is given. */
static VkResult buffer_make(dev_device *d, uint64_t bytes, VkBufferUsageFlags usage,
                            int (*type)(const dev_device *, uint32_t), VkBuffer *buffer,
                            VkDeviceMemory *memory, uint8_t **map) {
    VkBufferCreateInfo info = {.sType = VK_STRUCTURE_TYPE_BUFFER_CREATE_INFO,
                               .size = bytes,
                               .usage = usage,
                               .sharingMode = VK_SHARING_MODE_EXCLUSIVE};
    *buffer = VK_NULL_HANDLE;
    *memory = VK_NULL_HANDLE;
    VkResult r = d->fn.vkCreateBuffer(d->handle, &info, NULL, buffer);
    if (r) return r;
    VkMemoryRequirements need;
    d->fn.vkGetBufferMemoryRequirements(d->handle, *buffer, &need);
    int t = type(d, need.memoryTypeBits);
    if (t < 0) r = VK_ERROR_FEATURE_NOT_PRESENT;
    if (!r && need.size > d->mem.types.memoryHeaps[d->mem.types.memoryTypes[t].heapIndex].size)
        r = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    VkMemoryAllocateFlagsInfo flags = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_FLAGS_INFO,
                                       .flags = VK_MEMORY_ALLOCATE_DEVICE_ADDRESS_BIT};
    bool address = usage & VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
    VkMemoryAllocateInfo alloc = {.sType = VK_STRUCTURE_TYPE_MEMORY_ALLOCATE_INFO,
                                  .pNext = address ? &flags : NULL,
                                  .allocationSize = need.size,
                                  .memoryTypeIndex = (uint32_t)t};
    if (!r) r = d->fn.vkAllocateMemory(d->handle, &alloc, NULL, memory);
    if (!r) r = d->fn.vkBindBufferMemory(d->handle, *buffer, *memory, 0);
    void *p = NULL;
    if (!r && map) r = d->fn.vkMapMemory(d->handle, *memory, 0, VK_WHOLE_SIZE, 0, &p);
    if (map) *map = p;
    if (!r) return VK_SUCCESS;
    d->fn.vkDestroyBuffer(d->handle, *buffer, NULL);
    d->fn.vkFreeMemory(d->handle, *memory, NULL);
    return r;
}

static VkResult block_create(dev_device *d, bin_pool *pool, uint64_t bytes) {
    block *b = calloc(1, sizeof *b);
    range *r = calloc(1, sizeof *r);
    VkResult res = VK_ERROR_OUT_OF_HOST_MEMORY;
    VkBufferUsageFlags usage = VK_BUFFER_USAGE_STORAGE_BUFFER_BIT |
                               VK_BUFFER_USAGE_TRANSFER_SRC_BIT | VK_BUFFER_USAGE_TRANSFER_DST_BIT;
    if (d->caps.has[DEV_BUFFER_ADDRESS]) usage |= VK_BUFFER_USAGE_SHADER_DEVICE_ADDRESS_BIT;
    if (b && r)
        res = buffer_make(d, bytes, usage, block_type, &b->buffer, &b->memory,
                          d->mem.unified ? &b->map : NULL);
    if (res) {
        free(b);
        free(r);
        return res;
    }
    b->d = d;
    b->pool = pool;
    b->bytes = r->bytes = bytes;
    b->number = ++d->mem.blocks_made;
    b->first = r;
    r->in = b;
    b->next = d->mem.blocks;
    if (b->next) b->next->prev = b;
    d->mem.blocks = b;
    d->mem.taken += bytes;
    bin_put(r);
    return VK_SUCCESS;
}

static void block_destroy(dev_device *d, block *b) {
    if (b->prev)
        b->prev->next = b->next;
    else
        d->mem.blocks = b->next;
    if (b->next) b->next->prev = b->prev;
    d->mem.taken -= b->bytes;
    d->fn.vkDestroyBuffer(d->handle, b->buffer, NULL);
    d->fn.vkFreeMemory(d->handle, b->memory, NULL);
    for (range *r = b->first, *next; r; r = next) {
        next = r->after;
        if (r->owner) {
            r->owner->d = NULL;
            r->owner->at = NULL;
        }
        free(r);
    }
    free(b);
}

/* Gives back the blocks that hold no buffer. The device is idle. */
static void trim(dev_device *d) {
    for (block *b = d->mem.blocks, *next; b; b = next) {
        next = b->next;
        range *r = b->first;
        if (r->owner || r->after) continue;
        bin_take(r);
        block_destroy(d, b);
    }
}

void dev_set_reclaim(dev_device *d, void (*reclaim)(void *user), void *user) {
    d->mem.reclaim = reclaim;
    d->mem.reclaim_user = user;
}

static void reclaim(dev_device *d) {
    if (d->mem.reclaim) d->mem.reclaim(d->mem.reclaim_user);
}

void dev_memory_trim(dev_device *d) {
    reclaim(d);
    if (dev_wait(d)) return;
    trim(d);
    d->mem.next_block = FIRST_BLOCK;
    for (chunk *c; (c = d->free_staging);) {
        d->free_staging = c->next;
        d->staging--;
        chunk_destroy(d, c);
    }
}

void memory_init(dev_device *d) {
    VkPhysicalDeviceMemoryProperties2 m = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2};
    d->vk.vkGetPhysicalDeviceMemoryProperties2(d->physical, &m);
    d->mem.types = m.memoryProperties;
    d->mem.unified = d->caps.has[DEV_UNIFIED];
    d->mem.next_block = FIRST_BLOCK;
    if (d->mem.unified) {
        int t = block_type(d, UINT32_MAX);
        d->mem.cached = t >= 0 && d->mem.types.memoryTypes[t].propertyFlags &
                                      VK_MEMORY_PROPERTY_HOST_CACHED_BIT;
    }
}

void memory_free(dev_device *d) {
    while (d->mem.blocks)
        block_destroy(d, d->mem.blocks);
}

/* ---- buffers ------------------------------------------------------------------------------ */

static bool fits_cap(const dev_device *d, uint64_t bytes) {
    return !d->mem.cap || (d->mem.taken <= d->mem.cap && bytes <= d->mem.cap - d->mem.taken);
}

/* Gets a new block of at least `bytes`; for small buffers a larger one, as far as there is room. */
static VkResult grow(dev_device *d, bin_pool *pool, uint64_t bytes) {
    uint64_t size = pool == &d->mem.small ? d->mem.next_block : bytes;
    VkResult r = VK_ERROR_OUT_OF_DEVICE_MEMORY;
    for (;; size /= 2) {
        if (size < bytes) size = bytes;
        if (size <= d->caps.allocation && fits_cap(d, size)) r = block_create(d, pool, size);
        if (!r || size == bytes) break;
    }
    if (!r && size == d->mem.next_block && size < LARGEST_BLOCK) d->mem.next_block *= 2;
    return r;
}

/* A whole block is not cut up for a buffer of less than half its size: the next large one, and in
 * a training loop there is one, would then need a block more. */
static bool wasteful(const range *r, uint64_t bytes) {
    return r->in->pool == &r->in->d->mem.large && r->bytes == r->in->bytes && r->bytes / 2 > bytes;
}

/* Is more kept than is worth it, where another large block is needed? Shapes that change would
 * leave blocks of all their sizes behind. A loop whose shapes come again asks for no new block. */
static bool keeps_too_much(const dev_device *d, uint64_t bytes) {
    uint64_t cached = d->mem.taken - d->mem.used;
    return cached > KEPT_LEAST && cached / 2 > d->mem.used + bytes;
}

/* A free range for bytes; idle: best one that the device is not using. When the driver has no more,
 * cached blocks go back to it first; what is left at last is to cut up any memory there is. */
static VkResult range_get(dev_device *d, uint64_t bytes, bool idle, range **out) {
    bool small = bytes < SMALL_LIMIT;
    bin_pool *pool = small ? &d->mem.small : &d->mem.large;
    VkResult r = VK_SUCCESS;
    range *at = NULL;
    if (idle) {
        queue_poll(d);
        at = find_idle(d, pool, bytes);
    }
    if (!at) at = bin_find(pool, bytes);
    if (!at || wasteful(at, bytes)) {
        if (!small && keeps_too_much(d, bytes) && !dev_wait(d)) trim(d);
        r = grow(d, pool, bytes);
        at = bin_find(pool, bytes);
    }
    if (!at && d->mem.taken > 0) {
        reclaim(d);
        at = bin_find(pool, bytes);
    }
    if (!at && d->mem.taken > 0) {
        if (!dev_wait(d)) trim(d);
        r = grow(d, pool, bytes);
        at = bin_find(pool, bytes);
    }
    if (!at) at = bin_find(small ? &d->mem.large : &d->mem.small, bytes);
    if (!at) return r ? r : VK_ERROR_OUT_OF_DEVICE_MEMORY;
    if (!range_cut(at, bytes)) return VK_ERROR_OUT_OF_HOST_MEMORY;
    *out = at;
    return VK_SUCCESS;
}

static double mib(uint64_t bytes) {
    return (double)bytes / (1 << 20);
}

static mare_status buffer_failed(dev_device *d, VkResult r, uint64_t bytes) {
    if (d->lost) return check_lost(d, d->e);
    if (r != VK_ERROR_OUT_OF_DEVICE_MEMORY && r != VK_ERROR_TOO_MANY_OBJECTS)
        return vk_failed(d, r, "making a buffer");
    char cap[64] = "no cap is set";
    if (d->mem.cap) snprintf(cap, sizeof cap, "the cap is %.1f MiB", mib(d->mem.cap));
    return error_set(d->e, MARE_E_DEVICE_MEMORY,
                     "no device memory for a buffer of %.1f MiB: %.1f MiB are in use, %.1f MiB "
                     "kept in parts too small, %s, the device '%s' has %.0f MiB",
                     mib(bytes), mib(d->mem.used), mib(d->mem.taken - d->mem.used), cap,
                     d->caps.name, mib(d->caps.memory));
}

static void count_used(dev_device *d, uint64_t bytes) {
    d->mem.used += bytes;
    if (d->mem.used > d->mem.peak) d->mem.peak = d->mem.used;
}

static mare_status buffer_create(dev_device *d, uint64_t bytes, bool idle, dev_buffer **out) {
    *out = NULL;
    mare_status s = check_lost(d, d->e);
    if (s) return s;
    if (bytes > d->caps.allocation)
        return error_set(d->e, MARE_E_DEVICE_MEMORY,
                         "a buffer of %.1f MiB is more than the device '%s' allows for one "
                         "allocation, %.1f MiB",
                         mib(bytes), d->caps.name, mib(d->caps.allocation));
    uint64_t padded = (bytes + BUFFER_ALIGN - 1) / BUFFER_ALIGN * BUFFER_ALIGN;
    if (!padded) padded = BUFFER_ALIGN;
    dev_buffer *b = calloc(1, sizeof *b);
    if (!b) return error_no_memory(d->e, sizeof *b);
    VkResult r = range_get(d, padded, idle, &b->at);
    if (r) {
        free(b);
        return buffer_failed(d, r, bytes);
    }
    b->d = d;
    b->bytes = bytes;
    b->refs = 1;
    b->at->owner = b;
    count_used(d, b->at->bytes);
    *out = b;
    return MARE_OK;
}

mare_status dev_buffer_create(dev_device *d, uint64_t bytes, dev_buffer **out) {
    return buffer_create(d, bytes, false, out);
}

mare_status dev_buffer_create_idle(dev_device *d, uint64_t bytes, dev_buffer **out) {
    return buffer_create(d, bytes, true, out);
}

void dev_buffer_set_cached(dev_buffer *b, bool cached) {
    if (b->cached == cached || !b->d) return;
    b->cached = cached;
    if (cached)
        b->d->mem.used -= b->at->bytes;
    else
        count_used(b->d, b->at->bytes);
}

void dev_buffer_retain(dev_buffer *b) {
    b->refs++;
}

void dev_buffer_release(dev_buffer *b) {
    if (!b || --b->refs) return;
    if (b->d) {
        if (!b->cached) b->d->mem.used -= b->at->bytes;
        range_free(b->at);
    }
    free(b);
}

uint64_t dev_buffer_bytes(const dev_buffer *b) {
    return b->bytes;
}

uint64_t dev_buffer_place(const dev_buffer *b) {
    enum { OFFSET_BITS = 36 };
    return b->d ? b->at->in->number << OFFSET_BITS | b->at->offset / BUFFER_ALIGN : 0;
}

void dev_memory_stats(dev_device *d, dev_memory *out) {
    *out = (dev_memory){.used = d->mem.used,
                        .cached = d->mem.taken - d->mem.used,
                        .peak = d->mem.peak,
                        .cap = d->mem.cap};
    if (!d->caps.has[DEV_MEMORY_BUDGET]) return;
    VkPhysicalDeviceMemoryBudgetPropertiesEXT budget = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_BUDGET_PROPERTIES_EXT};
    VkPhysicalDeviceMemoryProperties2 m = {
        .sType = VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_MEMORY_PROPERTIES_2, .pNext = &budget};
    d->vk.vkGetPhysicalDeviceMemoryProperties2(d->physical, &m);
    int t = block_type(d, UINT32_MAX);
    if (t < 0) return;
    uint32_t heap = m.memoryProperties.memoryTypes[t].heapIndex;
    if (budget.heapBudget[heap] > budget.heapUsage[heap])
        out->available = budget.heapBudget[heap] - budget.heapUsage[heap];
}

void dev_memory_reset_peak(dev_device *d) {
    d->mem.peak = d->mem.used;
}

void dev_memory_set_cap(dev_device *d, uint64_t bytes) {
    d->mem.cap = bytes;
}

/* ---- host-visible chunks ------------------------------------------------------------------ */

mare_status chunk_create(dev_device *d, uint64_t bytes, VkBufferUsageFlags usage, chunk **out) {
    *out = NULL;
    chunk *c = calloc(1, sizeof *c);
    if (!c) return error_no_memory(d->e, sizeof *c);
    VkResult r = buffer_make(d, bytes, usage, chunk_type, &c->buffer, &c->memory, &c->map);
    if (r && !dev_wait(d)) {
        trim(d);
        r = buffer_make(d, bytes, usage, chunk_type, &c->buffer, &c->memory, &c->map);
    }
    if (r) {
        free(c);
        return vk_failed(d, r, "making a host-visible buffer");
    }
    c->bytes = bytes;
    *out = c;
    return MARE_OK;
}

void chunk_destroy(dev_device *d, chunk *c) {
    d->fn.vkDestroyBuffer(d->handle, c->buffer, NULL);
    d->fn.vkFreeMemory(d->handle, c->memory, NULL);
    free(c);
}
