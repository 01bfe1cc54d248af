#include "plan/attach.h"

#include "plan/places.h"

/* One attached program on its way into a launch. */
typedef struct joined {
    char prefix; /* of the names of its storage blocks */
    work w;
    access_plan a[PROGRAM_OPERANDS];
    uint32_t first[PROGRAM_OPERANDS];
    int rank, word;
} joined;

static mare_status join(lowering *l, launch *x, joined *j, const program *p, int raw, int word) {
    work_of(p, &j->w);
    j->w.raw = raw;
    work_collapse(&j->w, (1ull << j->w.n) - 1);
    j->word = word;
    work_plan(&j->w, j->a, word, false, &j->rank);
    return work_bind(l, x, &j->w, j->a, j->first);
}

/* ---- Text --------------------------------------------------------------------------------- */

static void add_blocks(const joined *j, int place, text *t) {
    for (int k = 0; k < j->w.n; k++) {
        int i = (k + j->w.n_out) % j->w.n;
        if (!is_bound(&j->a[i])) continue;
        mare_dtype dtype = j->w.o[i].dtype;
        const char *type = dtype == MARE_F32 ? "float" : dtype == MARE_I32 ? "int" : "uint";
        text_add(t, "layout(std430, binding = %d) %s buffer Block_%c%d { %s d[]; } %c%d; ", place++,
                 i < j->w.n_out ? "" : "readonly", j->prefix, i, type, j->prefix, i);
    }
}

/* Coordinates c0, c1, ... of place i. */
static void add_coordinates(const joined *j, text *t) {
    if (!j->rank) return;
    text_add(t, "uint rest = i; ");
    for (int d = j->rank - 1; d > 0; d--) {
        int w = j->word + 3 * d;
        text_add(t,
                 "uint q%d = divided(rest, ATTACHED(%d), ATTACHED(%d)); "
                 "uint c%d = rest - q%d * ATTACHED(%d); rest = q%d; ",
                 d, w + 1, w + 2, d, d, w, d);
    }
    text_add(t, "uint c0 = rest; ");
}

/* Where operand i has its element of this place. */
static void add_place(const joined *j, int i, text *t) {
    int w = j->a[i].word;
    text_add(t, "ATTACHED(%d)", w);
    if (j->a[i].class == CLASS_ROW) text_add(t, " + i");
    for (int d = 0; d < j->rank && is_strided(j->a[i].class); d++)
        text_add(t, " + c%d * ATTACHED(%d)", d, w + 1 + d);
}

static void add_loads(const joined *j, text *t) {
    for (int i = j->w.n_out; i < j->w.n; i++) {
        const operand *o = &j->w.o[i];
        bool is_float = dtype_is_float(o->dtype);
        text_add(t, "%s x%d = ", is_float ? "float" : "int", i - j->w.n_out);
        if (j->a[i].class == CLASS_RAW) {
            text_add(t, "raw; ");
        } else if (j->a[i].class == CLASS_WORD) {
            text_add(t, is_float ? "uintBitsToFloat(ATTACHED(%d)); " : "int(ATTACHED(%d)); ",
                     j->a[i].word);
        } else {
            int block = j->a[i].written < 0 ? i : j->a[i].written;
            text_add(t, "AT_%s(%c%d, (", mare_dtype_name(o->dtype), j->prefix, block);
            add_place(j, i, t);
            text_add(t, ")); ");
        }
    }
}

static void add_function(const joined *j, text *t) {
    bool after = j->prefix == 'a';
    const char *type = dtype_is_float(j->w.o[j->w.raw].dtype) ? "float" : "int";
    if (after)
        text_add(t, "void after(uint i, %s raw) { ", type);
    else
        text_add(t, "%s before(uint i) { ", type);
    add_coordinates(j, t);
    add_loads(j, t);
    for (int i = 0; i < j->w.n_out; i++)
        text_add(t, "%s y%d; ", dtype_is_float(j->w.o[i].dtype) ? "float" : "int", i);
    program_body(j->w.p, t);
    for (int i = 0; i < j->w.n_out; i++) {
        if (j->a[i].class == CLASS_RAW) continue;
        text_add(t, "%c%d.d[", j->prefix, i);
        add_place(j, i, t);
        text_add(t, "] = y%d; ", i);
    }
    text_add(t, after ? "} " : "return y%d; } ", j->w.raw);
}

/* ---- Launches ----------------------------------------------------------------------------- */

/* Puts `more` behind the defines of the launch and its variants; the tuner goes on measuring them
 * as they were. */
static bool add_defines(lowering *l, launch *x, const char *more) {
    x->plain = x->kernel.defines;
    x->kernel.defines = lower_text(l, "%s%s", x->plain, more);
    bool ok = x->kernel.defines;
    for (variant *v = x->variants; v && ok; v = v->next) {
        v->plain = v->kernel.defines;
        ok = (v->kernel.defines = lower_text(l, "%s%s", v->plain, more)) != NULL;
    }
    return ok;
}

mare_status launch_attach(lowering *l, launch *x, const operand *in, const operand *out) {
    attachment *part[] = {in ? in->before : NULL, out ? out->after : NULL};
    if (!part[0] && !part[1]) return MARE_OK;
    joined j[2] = {{.prefix = 'b'}, {.prefix = 'a'}};
    text t = {0};
    while (x->n_params % 4)
        launch_u32(x, 0);
    int start = x->n_params, place = x->n_bindings + 1;
    x->plain_params = start;
    x->plain_bindings = x->n_bindings;
    if (part[1]) {
        x->plain_bindings++;
        x->plain_out = (uint64_t)shape_count(&out->shape) * 4;
    }
    mare_status status = MARE_OK;
    for (int k = 0; k < 2 && !status; k++) {
        if (!part[k]) continue;
        const program *p = part[k]->p;
        int raw = k ? (int)p->out.len + part[k]->raw : part[k]->raw;
        status = join(l, x, &j[k], p, raw, x->n_params - start);
        if (status) break;
        work_words(x, &j[k].w, j[k].a, j[k].rank, j[k].first);
        program_uses(p, &t);
        part[k]->done = true;
    }
    if (!status) {
        text_add(&t, "ATTACHED_WORDS %d\n", (x->n_params - start) / 4);
        text_add(&t, "%s%sATTACHED_TEXT ", part[0] ? "BEFORE 1\n" : "", part[1] ? "AFTER 1\n" : "");
        for (int k = 0; k < 2; k++) {
            if (!part[k]) continue;
            add_blocks(&j[k], place, &t);
            add_function(&j[k], &t);
            for (int i = 0; i < j[k].w.n; i++)
                place += is_bound(&j[k].a[i]);
        }
        text_add(&t, "\n");
        const char *more = t.failed ? NULL : lower_text(l, "%s", text_str(&t));
        if (!more || !add_defines(l, x, more)) status = lower_error(l);
    }
    text_free(&t);
    return status;
}
