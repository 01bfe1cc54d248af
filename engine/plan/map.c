/* Lowering of elementwise work to shaders/elementwise/map.comp. */
#include "plan/places.h"

#include <stdio.h>
#include <string.h>

/* ---- Text --------------------------------------------------------------------------------- */

/* What a launch does, as text; parts of a launch that several were merged into differ in the names
 * of their blocks alone. */
struct map_text {
    work w; /* collapsed for its strided operands */
    access_plan a[PROGRAM_OPERANDS];
    const char *head, *body; /* lines of the defines that say nothing of parts */
    int words;
};

/* Behind the names of blocks: nothing for the first part. */
typedef struct suffix {
    char text[16];
} suffix;

static suffix suffix_of(int part) {
    suffix s = {""};
    if (part) snprintf(s.text, sizeof s.text, "_%d", part);
    return s;
}

static void add_loads(const map_text *m, int part, text *t) {
    const work *w = &m->w;
    const access_plan *a = m->a;
    for (int i = w->n_out; i < w->n; i++) {
        const operand *o = &w->o[i];
        const char *type = mare_dtype_name(o->dtype), *block = a[i].written < 0 ? "in" : "out";
        int k = i - w->n_out, word = a[i].word, b = a[i].written < 0 ? k : a[i].written;
        suffix s = suffix_of(part);
        text_add(t, "x%d = ", k);
        switch (a[i].class) {
        case CLASS_WORD:
            text_add(t, "WORD_%s(%d); ", dtype_is_float(o->dtype) ? "f32" : "i32", word);
            break;
        case CLASS_ONE:
            text_add(t, "ONE_%s(%s%d%s, W(%d)); ", type, block, b, s.text, word);
            break;
        case CLASS_ROW:
            text_add(t, "ROW_%s(%s%d%s, W(%d) + i); ", type, block, b, s.text, word);
            break;
        case CLASS_STRIDED:
            text_add(t, "EACH_%s(%s%d%s, places(W(%d), %d)); ", type, block, b, s.text, word,
                     word + 1);
            break;
        default:
            text_add(t, "%s_%s(%s%d%s, place(W(%d), %d)); ",
                     a[i].class == CLASS_STRIDED_ONE ? "ONE" : "ROW", type, block, b, s.text, word,
                     word + 1);
        }
    }
}

static void add_stores(const map_text *m, int part, text *t) {
    const access_plan *a = m->a;
    for (int i = 0; i < m->w.n_out; i++) {
        mare_dtype type = m->w.o[i].dtype;
        suffix s = suffix_of(part);
        if (a[i].class == CLASS_STRIDED)
            text_add(t, "uvec4 p%d = places(W(%d), %d); STORE_EACH(out%d%s, p%d, i, y%d); ", i,
                     a[i].word, a[i].word + 1, i, s.text, i, i);
        else if (mare_dtype_size(type) == 4)
            text_add(t, "STORE_WORDS(out%d%s, W(%d), i, y%d); ", i, s.text, a[i].word, i);
        else
            text_add(t, "STORE_%s(out%d%s, W(%d) + i, y%d); ", mare_dtype_name(type), i, s.text,
                     a[i].word, i);
    }
}

/* Storage blocks: inputs, then outputs. Returns the place of the next. */
static int add_buffers(const map_text *m, int part, int place, text *t) {
    const work *w = &m->w;
    for (int k = 0; k < w->n; k++) {
        int i = (k + w->n_out) % w->n;
        if (!is_bound(&m->a[i])) continue;
        bool out = i < w->n_out;
        suffix s = suffix_of(part);
        text_add(t, "layout(std430, binding = %d) %s buffer Block%d%s { %s d[]; } %s%d%s; ",
                 place++, out ? "" : "readonly", i, s.text,
                 work_block_type(w->o[i].dtype, m->a[i].class), out ? "out" : "in",
                 out ? i : i - w->n_out, s.text);
    }
    return place;
}

/* What apply() takes: of each operand its kind's type, `prefix` and number. */
static void add_each(const work *w, const char *input, const char *output, bool types, text *t) {
    for (int k = 0; k < w->n; k++) {
        int i = (k + w->n_out) % w->n;
        bool out = i < w->n_out;
        text_add(t, "%s", k ? ", " : "");
        if (types)
            text_add(t, "%s%s ", out ? "out " : "",
                     dtype_is_float(w->o[i].dtype) ? "float" : "int");
        text_add(t, out ? output : input, out ? i : i - w->n_out);
    }
}

/* The same of each part, by the part that the workgroup is in. */
static void add_parts(const map_text *m, int parts, void (*add)(const map_text *, int, text *),
                      text *t) {
    if (parts > 1) text_add(t, "switch (part) { ");
    for (int i = 0; i < parts; i++) {
        if (parts > 1) text_add(t, "case %d: { ", i);
        add(m, i, t);
        if (parts > 1) text_add(t, "} break; ");
    }
    if (parts > 1) text_add(t, "} ");
}

/* The text of the defines of a launch of so many parts. */
static const char *defines(lowering *l, const map_text *m, int parts) {
    text t = {0};
    int place = 1;
    text_add(&t, "PARTS %d\n%sBUFFERS ", parts, m->head);
    for (int i = 0; i < parts; i++)
        place = add_buffers(m, i, place, &t);
    text_add(&t, "\n%sLOADS ", m->body);
    add_parts(m, parts, add_loads, &t);
    text_add(&t, "\nSTORES ");
    add_parts(m, parts, add_stores, &t);
    text_add(&t, "\n");
    const char *out = t.failed ? NULL : lower_text(l, "%s", text_str(&t));
    if (t.failed) error_no_memory(l->error, t.len);
    text_free(&t);
    return out;
}

/* Fills in m->head and m->body. */
static bool describe(lowering *l, map_text *m, int rank) {
    const work *w = &m->w;
    text t = {0};
    const shape *s = &w->o[0].shape;
    text_add(&t, "WORDS %d\nRANK %d\n", m->words / 4, rank);
    if (rank && s->dim[rank - 1] % 4 == 0) text_add(&t, "INNER4 1\n");
    if (shape_count(s) % 4 == 0) text_add(&t, "WHOLE 1\n");
    program_uses(w->p, &t);
    bool ok = !t.failed && (m->head = lower_text(l, "%s", text_str(&t)));
    text_free(&t);
    text_add(&t, "SIGNATURE ");
    add_each(w, "x%d", "y%d", true, &t);
    text_add(&t, "\nBODY ");
    program_body(w->p, &t);
    text_add(&t, "\nVECTORS ");
    for (int i = 0; i < w->n; i++) {
        bool out = i < w->n_out;
        text_add(&t, "%s %c%d; ", dtype_is_float(w->o[i].dtype) ? "vec4" : "ivec4", out ? 'y' : 'x',
                 out ? i : i - w->n_out);
    }
    text_add(&t, "\nAPPLY(k) apply(");
    add_each(w, "x%d[k]", "y%d[k]", false, &t);
    text_add(&t, ")\n");
    ok = ok && !t.failed && (m->body = lower_text(l, "%s", text_str(&t)));
    if (t.failed) error_no_memory(l->error, t.len);
    text_free(&t);
    return ok;
}

/* ---- Launches ----------------------------------------------------------------------------- */

/* Whole words are written, so a result must own what it touches. */
static mare_status check_result(lowering *l, const operand *r, operand_class c) {
    size_t size = mare_dtype_size(r->dtype);
    if (size == 4) return MARE_OK;
    int64_t end = r->view.offset + shape_count(&r->shape);
    bool whole = end % 4 == 0 || l->buffers.data[r->buffer] <= (uint64_t)end * size;
    if (c == CLASS_ROW && whole) return MARE_OK;
    char s[SHAPE_TEXT];
    return error_set(l->error, MARE_E_UNSUPPORTED,
                     "%s: a part %s of a %s tensor cannot be written in place", l->node->op->name,
                     shape_text(&r->shape, s), mare_dtype_name(r->dtype));
}

static mare_status emit(lowering *l, const work *w) {
    uint32_t first[PROGRAM_OPERANDS] = {0};
    int rank;
    int64_t count = shape_count(&w->o[0].shape);
    mare_status s = MARE_OK;
    if (work_transposes(l, w)) return work_transpose(l, w);
    map_text *m = arena_alloc(l->mem, sizeof *m);
    if (!m) return error_no_memory(l->error, sizeof *m);
    m->w = *w;
    for (int i = 0; i < w->n_out && !s; i++)
        s = check_result(l, &w->o[i], work_classify(w, i));
    if (s) return s;
    m->words = work_plan(&m->w, m->a, 1, true, &rank);
    if (m->words > MAX_PARAMS)
        return error_set(l->error, MARE_E_UNSUPPORTED,
                         "%s: a kernel of %d parameter words, at most %d", l->node->op->name,
                         m->words, MAX_PARAMS);
    const char *lines = describe(l, m, rank) ? defines(l, m, 1) : NULL;
    launch *x = lines ? lower_launch(l, "elementwise/map.comp", lines) : NULL;
    if (!x) return lower_error(l);
    x->map = m;
    s = work_bind(l, x, &m->w, m->a, first);
    if (s) return s;
    uint32_t group = lower_workgroup(l);
    launch_spec(x, group);
    launch_u32(x, (uint32_t)count);
    work_words(x, &m->w, m->a, rank, first);
    return launch_groups(l, x, map_groups(x));
}

uint64_t map_groups(const launch *x) {
    uint64_t count = x->params[0].value, per_group = (uint64_t)x->kernel.spec[0] * 4;
    return (count + per_group - 1) / per_group;
}

int map_head_words(int parts) {
    return parts > 1 ? (parts + 3) / 4 * 4 : 0;
}

mare_status map_merge(lowering *l, launch *const *part, int n, launch **out) {
    const char *lines = defines(l, part[0]->map, n);
    const char *label =
        lower_text(l, "%d of %s", n, part[0]->label ? part[0]->label : part[0]->origin->op->name);
    launch *x = arena_alloc(l->mem, sizeof *x);
    if (!lines || !label || !x) return lower_error(l);
    *x = *part[0];
    x->kernel.defines = lines;
    x->label = label;
    x->n_params = x->n_bindings = 0;
    memset(x->params, 0, sizeof x->params);
    uint64_t groups = 0;
    for (int i = 0; i < n; i++) {
        groups += map_groups(part[i]);
        launch_u32(x, (uint32_t)groups);
    }
    while (x->n_params < map_head_words(n))
        launch_u32(x, 0);
    for (int i = 0; i < n; i++) {
        const launch *p = part[i];
        memcpy(x->params + x->n_params, p->params, (size_t)p->n_params * sizeof *p->params);
        memcpy(x->bindings + x->n_bindings, p->bindings,
               (size_t)p->n_bindings * sizeof *p->bindings);
        x->n_params += p->n_params;
        x->n_bindings += p->n_bindings;
    }
    x->kernel.buffers = x->n_bindings;
    *out = x;
    return launch_groups(l, x, groups);
}

static bool has_bytes(const work *w) {
    for (int i = 0; i < w->n_out; i++)
        if (mare_dtype_size(w->o[i].dtype) < 4) return true;
    return false;
}

/* Halves the work along its outermost axis until each part fits the device's bindings. */
static mare_status divide(lowering *l, const work *w) {
    const shape *s = &w->o[0].shape;
    bool fit = shape_count(s) <= (int64_t)1 << 30;
    for (int i = 0; i < w->n; i++)
        fit = fit && work_fits(l, &w->o[i]);
    work p = *w;
    if (fit || s->rank == 0) return emit(l, &p);
    int64_t inner = shape_count(s) / s->dim[0], half = s->dim[0] / 2;
    /* The second half starts at a multiple of 256 elements where it can, of 4 where packed dtypes
     * need it. Where none is left, one part takes all and binding it tells what is too large. */
    if (half >= 256)
        half = half / 256 * 256;
    else if (half >= 4)
        half = half / 4 * 4;
    if (half == 0 || (half * inner % 4 != 0 && has_bytes(w))) return emit(l, &p);
    for (int part = 0; part < 2; part++) {
        p = *w;
        for (int i = 0; i < w->n; i++) {
            operand *o = &p.o[i];
            if (part) o->view.offset += half * o->view.stride[0];
            o->shape.dim[0] = part ? s->dim[0] - half : half;
        }
        work_collapse(&p, (1ull << p.n) - 1);
        mare_status status = divide(l, &p);
        if (status != MARE_OK) return status;
    }
    return MARE_OK;
}

mare_status lower_program(const program *p) {
    size_t n = p->in.len + p->out.len;
    if (n > PROGRAM_OPERANDS)
        return error_set(p->l->error, MARE_E_UNSUPPORTED, "%s: %zu operands, at most %d",
                         p->l->node->op->name, n, PROGRAM_OPERANDS);
    work w;
    work_of(p, &w);
    work_collapse(&w, (1ull << w.n) - 1);
    return divide(p->l, &w);
}
