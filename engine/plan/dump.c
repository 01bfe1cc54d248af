#include "plan/internal.h"

#include <string.h>

static const char *const kinds[] = {"temp", "input", "kept"};

mare_status plan_dump(const plan *p, text *out) {
    text_add(out,
             "plan %016llx: %d nodes, %d launches, %d barriers, arena %llu bytes "
             "(unpacked %llu, bound %llu)\n",
             (unsigned long long)p->hash, p->n_nodes, p->n_steps, p->info.barriers,
             (unsigned long long)p->info.arena, (unsigned long long)p->info.sum,
             (unsigned long long)p->info.bound);
    for (int i = 0; i < p->n_buffers; i++) {
        const plan_buffer *b = &p->buffers[i];
        text_add(out, "  buffer %d: %s", i, kinds[b->kind]);
        if (b->kind == BUFFER_INPUT)
            text_add(out, " node %d\n", b->input);
        else if (b->kind == BUFFER_KEPT)
            text_add(out, " %llu bytes\n", (unsigned long long)b->bytes);
        else
            text_add(out, " %llu bytes at arena %d + %llu, steps %d..%d\n",
                     (unsigned long long)b->bytes, b->arena, (unsigned long long)b->offset,
                     b->first, b->last);
    }
    for (int i = 0; i < p->n_steps; i++) {
        const step *s = &p->steps[i];
        text_add(out, "%s  step %d: %s", s->barrier ? "  -- barrier\n" : "", i, s->op->name);
        if (s->file) text_add(out, " (%s:%d)", s->file, s->line);
        text_add(out, " %s groups %u,%u,%u spec", s->kernel.shader, s->groups[0], s->groups[1],
                 s->groups[2]);
        for (int k = 0; k < s->kernel.n_spec; k++)
            text_add(out, "%c%u", k ? ',' : ' ', s->kernel.spec[k]);
        for (int k = 0; k < s->n_bindings; k++) {
            const binding *b = &s->bindings[k];
            text_add(out, " %s%d+%llu:%llu",
                     b->access == READ    ? "r"
                     : b->access == WRITE ? "w"
                                          : "rw",
                     b->buffer, (unsigned long long)b->offset, (unsigned long long)b->bytes);
        }
        if (s->variants) text_add(out, " tune %s", s->tune_key ? s->tune_key : "?");
        text_add(out, "\n");
        for (const char *d = s->kernel.defines; *d;) {
            const char *end = strchr(d, '\n');
            int len = end ? (int)(end - d) : (int)strlen(d);
            text_add(out, "      %.*s\n", len, d);
            d += len + (end != NULL);
        }
    }
    return out->failed ? MARE_E_HOST_MEMORY : MARE_OK;
}
