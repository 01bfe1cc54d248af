/* Plans as text, and which texts are wanted. */
#include "plan/internal.h"

#include <string.h>

static const char *const dump_names[] = {"graph", "plan", "memory", "glsl"};

mare_status plan_dumps_parse(uint32_t *dumps, const char *list, mare_error *e) {
    uint32_t set = 0;
    for (const char *word = list; *word;) {
        size_t n = strcspn(word, ",");
        uint32_t named = 0;
        for (size_t i = 0; i < sizeof dump_names / sizeof *dump_names; i++)
            if (strlen(dump_names[i]) == n && !memcmp(word, dump_names[i], n)) named = 1u << i;
        if (n && !named)
            return error_set(e, MARE_E_ARGUMENT,
                             "MARE_DUMP: \"%.*s\" is none of graph, plan, memory, glsl", (int)n,
                             word);
        set |= named;
        word += n + (word[n] == ',');
    }
    *dumps = set;
    return MARE_OK;
}

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
        else if (b->kind == BUFFER_KEPT && b->donor >= 0)
            text_add(out, " %llu bytes, may take those of buffer %d\n",
                     (unsigned long long)b->bytes, b->donor);
        else if (b->kind == BUFFER_KEPT)
            text_add(out, " %llu bytes\n", (unsigned long long)b->bytes);
        else
            text_add(out, " %llu bytes at arena %d + %llu, steps %d..%d\n",
                     (unsigned long long)b->bytes, b->arena, (unsigned long long)b->offset,
                     b->first, b->last);
    }
    for (int i = 0; i < p->n_steps; i++) {
        const step *s = &p->steps[i];
        text_add(out, "%s  step %d: %s", s->barrier ? "  -- barrier\n" : "", i, s->label);
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

/* ---- Memory ------------------------------------------------------------------------------- */

/* Bytes of the temporaries that a step finds alive. */
static uint64_t alive_at(const plan *p, int at) {
    uint64_t alive = 0;
    for (int i = 0; i < p->n_buffers; i++) {
        const plan_buffer *b = &p->buffers[i];
        if (b->kind == BUFFER_TEMP && b->first <= at && at <= b->last) alive += padded(b);
    }
    return alive;
}

/* When a buffer is alive, as a picture: a column a step, or several steps where there are many. */
static void add_life(const plan *p, const plan_buffer *b, text *out) {
    enum { COLUMNS = 64 };
    int columns = p->n_steps < COLUMNS ? p->n_steps : COLUMNS;
    for (int c = 0; c < columns; c++) {
        int from = (int)((int64_t)c * p->n_steps / columns);
        int to = (int)((int64_t)(c + 1) * p->n_steps / columns) - 1;
        text_add(out, "%c", b->first <= to && from <= b->last ? '#' : '.');
    }
    text_add(out, "\n");
}

mare_status plan_dump_memory(const plan *p, text *out) {
    uint64_t kept = 0;
    for (int i = 0; i < p->n_buffers; i++)
        if (p->buffers[i].kind == BUFFER_KEPT) kept += p->buffers[i].bytes;
    text_add(
        out,
        "memory of plan %016llx: peak %llu bytes = arena %llu + results %llu; temporaries: sum "
        "%llu, lower bound %llu\n  buffer        bytes  arena       offset         steps\n",
        (unsigned long long)p->hash, (unsigned long long)(p->info.arena + kept),
        (unsigned long long)p->info.arena, (unsigned long long)kept,
        (unsigned long long)p->info.sum, (unsigned long long)p->info.bound);
    for (int i = 0; i < p->n_buffers; i++) {
        const plan_buffer *b = &p->buffers[i];
        if (b->kind != BUFFER_TEMP || b->first > b->last) continue;
        text_add(out, "  %6d %12llu  %5d %12llu  %5d..%-5d ", i, (unsigned long long)b->bytes,
                 b->arena, (unsigned long long)b->offset, b->first, b->last);
        add_life(p, b, out);
    }
    text_add(out, "    step        alive  operation\n");
    for (int i = 0; i < p->n_steps; i++) {
        const step *s = &p->steps[i];
        text_add(out, "  %6d %12llu  %s", i, (unsigned long long)alive_at(p, i), s->label);
        if (s->file) text_add(out, " (%s:%d)", s->file, s->line);
        text_add(out, "\n");
    }
    return out->failed ? MARE_E_HOST_MEMORY : MARE_OK;
}

/* ---- What the planner shows ---------------------------------------------------------------- */

static void show(const dumper *d, text *t) {
    if (d->show && !t->failed) d->show(d->user, text_str(t));
    text_free(t);
}

void dump_new_graph(const dumper *d, node *const *order, int n, const plan_wanted *w) {
    if (!(d->dumps & DUMP_GRAPH)) return;
    text t = {0};
    graph_dump(order, n, w->roots, w->n, &t);
    show(d, &t);
}

void dump_new_plan(const dumper *d, const plan *p) {
    static const struct {
        uint32_t dump;
        mare_status (*write)(const plan *p, text *out);
    } texts[] = {{DUMP_PLAN, plan_dump}, {DUMP_MEMORY, plan_dump_memory}};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        if (!(d->dumps & texts[i].dump)) continue;
        text t = {0};
        texts[i].write(p, &t);
        show(d, &t);
    }
}
