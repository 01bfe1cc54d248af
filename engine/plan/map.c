/* Lowering of elementwise work to shaders/elementwise/map.comp. */
#include "base/text.h"
#include "plan/lower.h"

#include <ctype.h>
#include <string.h>

enum { MAX_OPERANDS = 9, RESULT = 0 }; /* the result, then up to 8 inputs */

/* How an operand is read or written. */
typedef enum operand_class {
    CLASS_WORD,    /* a constant in the parameter block */
    CLASS_ONE,     /* the same element everywhere */
    CLASS_ROW,     /* in the order of the result, from a multiple of 4 on */
    CLASS_STRIDED, /* anywhere */
    /* Where four consecutive results always stand in one innermost row, a strided operand can also
     * have for the four of them: */
    CLASS_STRIDED_ONE, /* one element */
    CLASS_STRIDED_ROW  /* four in a row, from a multiple of 4 on */
} operand_class;

static bool is_strided(operand_class c) {
    return c >= CLASS_STRIDED;
}

/* The work: operands of one shape. */
typedef struct work {
    const char *expr;
    mare_dtype compute;
    int n;
    operand o[MAX_OPERANDS];
} work;

static bool buffered(const operand *o) {
    return o->buffer >= 0;
}

/* Stretches the inputs to the result's shape: a broadcast axis has stride 0. */
static mare_status broadcast(lowering *l, work *w) {
    const shape *s = &w->o[RESULT].shape;
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    for (int i = 1; i < w->n; i++) {
        operand *o = &w->o[i];
        view v = {.offset = o->view.offset};
        shape both;
        if (!shape_broadcast(&o->shape, s, &both) || !shape_equal(&both, s))
            return error_set(l->error, MARE_E_SHAPE, "%s: an input %s does not stretch to %s",
                             l->node->op->name, shape_text(&o->shape, a), shape_text(s, b));
        for (int d = 0; d < o->shape.rank; d++)
            if (o->shape.dim[d] != 1) v.stride[d + s->rank - o->shape.rank] = o->view.stride[d];
        o->view = v;
        o->shape = *s;
    }
    return MARE_OK;
}

/* Drops axes of one element and merges neighbours that every operand named in `which` (a bit mask)
 * steps through evenly. */
static void collapse(work *w, uint32_t which) {
    shape s = w->o[RESULT].shape;
    int rank = 0;
    int64_t dim[MAX_DIMS], stride[MAX_OPERANDS][MAX_DIMS];
    for (int d = 0; d < s.rank; d++) {
        if (s.dim[d] == 1) continue;
        bool merge = rank > 0;
        for (int i = 0; i < w->n && merge; i++)
            if (which >> i & 1) merge = stride[i][rank - 1] == w->o[i].view.stride[d] * s.dim[d];
        if (!merge) dim[rank++] = 1;
        dim[rank - 1] *= s.dim[d];
        for (int i = 0; i < w->n; i++)
            stride[i][rank - 1] = w->o[i].view.stride[d];
    }
    for (int i = 0; i < w->n; i++) {
        operand *o = &w->o[i];
        o->shape.rank = rank;
        for (int d = 0; d < rank; d++) {
            o->shape.dim[d] = dim[d];
            o->view.stride[d] = stride[i][d];
        }
    }
}

static operand_class classify(const operand *o) {
    if (!buffered(o)) return CLASS_WORD;
    bool one = true;
    for (int d = 0; d < o->shape.rank; d++)
        if (o->view.stride[d] && o->shape.dim[d] > 1) one = false;
    if (o->view.offset % 4 == 0 && view_contiguous(&o->shape, &o->view) &&
        (!one || shape_count(&o->shape) == 1))
        return CLASS_ROW;
    return one ? CLASS_ONE : CLASS_STRIDED;
}

/* The element type of an operand's storage block. */
static const char *block_type(mare_dtype t, operand_class c) {
    static const char *const rows[MARE_DTYPES] = {"vec4", "uvec2", "ivec4", "uint", "uint"};
    static const char *const single[MARE_DTYPES] = {"float", "uint", "int", "uint", "uint"};
    return c == CLASS_ROW || c == CLASS_STRIDED_ROW ? rows[t] : single[t];
}

/* Finer classes for strided inputs whose innermost axis is a multiple of 4 elements long. */
static operand_class refine(const operand *o) {
    int inner = o->shape.rank - 1;
    if (o->view.stride[inner] == 0) return CLASS_STRIDED_ONE;
    bool row = o->view.stride[inner] == 1 && o->view.offset % 4 == 0;
    for (int d = 0; d < inner; d++)
        row = row && o->view.stride[d] % 4 == 0;
    return row ? CLASS_STRIDED_ROW : CLASS_STRIDED;
}

/* Multiplier and shift with which (umulhi(n, multiplier) + n) >> shift is n / d for n < 2^31
 * (Granlund and Montgomery, "Division by invariant integers using multiplication", 1994). */
static void division(uint32_t d, uint32_t *multiplier, uint32_t *shift) {
    uint32_t s = 0;
    while (s < 32 && (uint64_t)1 << s < d)
        s++;
    *multiplier = (uint32_t)((((uint64_t)1 << 32) * (((uint64_t)1 << s) - d)) / d + 1);
    *shift = s;
}

/* Defines USE_<name> for each m_<name> that the expression calls. */
static void add_uses(const char *expr, text *out) {
    for (const char *p = expr; *p;) {
        size_t n = 0;
        while (isalnum((unsigned char)p[n]) || p[n] == '_')
            n++;
        if (n > 2 && p[0] == 'm' && p[1] == '_') text_add(out, "USE_%.*s 1\n", (int)n - 2, p + 2);
        p += n ? n : 1;
    }
}

/* The text of the defines; w is collapsed for its strided operands. word[i]: the operand's first
 * parameter word. */
static const char *defines(lowering *l, const work *w, const operand_class *class, const int *word,
                           int words, bool strided) {
    static const char names[] = "abcdefgh";
    text t = {0};
    bool ints = w->compute == MARE_I32;
    const operand *r = &w->o[RESULT];
    int rank = strided ? r->shape.rank : 0;
    text_add(&t, "T %s\nT4 %s\n", ints ? "int" : "float", ints ? "ivec4" : "vec4");
    if (ints) text_add(&t, "COMPUTE_INT 1\n");
    text_add(&t, "WORDS %d\nRANK %d\n", words / 4, rank);
    if (rank && r->shape.dim[rank - 1] % 4 == 0) text_add(&t, "INNER4 1\n");
    text_add(&t, "OUT_%s 1\n", mare_dtype_name(r->dtype));
    if (shape_count(&r->shape) % 4 == 0) text_add(&t, "WHOLE 1\n");
    if (class[RESULT] == CLASS_STRIDED) text_add(&t, "OUT_STRIDED %d\n", word[RESULT]);
    add_uses(w->expr, &t);
    text_add(&t, "EXPR %s\nSIGNATURE ", w->expr);
    for (int i = 1; i < w->n; i++)
        text_add(&t, "%sT %c", i > 1 ? ", " : "", names[i - 1]);
    text_add(&t, "\nARGS(k) ");
    for (int i = 1; i < w->n; i++)
        text_add(&t, "%s%c4[k]", i > 1 ? ", " : "", names[i - 1]);
    text_add(&t, "\nBUFFERS ");
    int place = 1;
    for (int i = 1; i <= w->n; i++) {
        int k = i < w->n ? i : RESULT; /* the result is bound last */
        if (class[k] == CLASS_WORD) continue;
        text_add(&t, "layout(std430, binding = %d) %s buffer Block%d { %s d[]; } ", place++,
                 k == RESULT ? "" : "readonly", k, block_type(w->o[k].dtype, class[k]));
        text_add(&t, k == RESULT ? "result; " : "in%d; ", k);
    }
    text_add(&t, "\nINPUTS ");
    for (int i = 1; i < w->n; i++) {
        const char *type = mare_dtype_name(w->o[i].dtype);
        text_add(&t, "T4 %c4 = ", names[i - 1]);
        if (class[i] == CLASS_WORD)
            text_add(&t, "WORD_%s(%d); ", dtype_is_float(w->o[i].dtype) ? "f32" : "i32", word[i]);
        else if (class[i] == CLASS_ONE)
            text_add(&t, "ONE_%s(in%d, W(%d)); ", type, i, word[i]);
        else if (class[i] == CLASS_ROW)
            text_add(&t, "ROW_%s(in%d, W(%d) + i); ", type, i, word[i]);
        else if (class[i] == CLASS_STRIDED)
            text_add(&t, "EACH_%s(in%d, places(W(%d), %d)); ", type, i, word[i], word[i] + 1);
        else
            text_add(&t, "%s_%s(in%d, place(W(%d), %d)); ",
                     class[i] == CLASS_STRIDED_ONE ? "ONE" : "ROW", type, i, word[i], word[i] + 1);
    }
    text_add(&t, "\n");
    const char *out = t.failed ? NULL : lower_text(l, "%s", text_str(&t));
    if (t.failed) error_no_memory(l->error, t.len);
    text_free(&t);
    return out;
}

/* Whole words are written, so the result must own what it touches. */
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

static mare_status emit(lowering *l, work w) {
    operand_class class[MAX_OPERANDS];
    int word[MAX_OPERANDS];
    int64_t count = shape_count(&w.o[RESULT].shape);
    uint32_t strided = 0;
    for (int i = 0; i < w.n; i++) {
        class[i] = classify(&w.o[i]);
        if (i == RESULT && class[i] == CLASS_ONE) class[i] = CLASS_STRIDED;
        if (class[i] == CLASS_STRIDED) strided |= 1u << i;
    }
    mare_status s = check_result(l, &w.o[RESULT], class[RESULT]);
    if (s != MARE_OK) return s;
    /* Operands in rows count elements alone, so only the strided ones hinder merging. */
    collapse(&w, strided);
    if (strided && w.o[RESULT].shape.rank == 0) {
        w.o[RESULT].shape = shape_of(1, 1);
        for (int i = 0; i < w.n; i++)
            w.o[i].view.stride[0] = 0;
    }
    int rank = strided ? w.o[RESULT].shape.rank : 0, words = 2 + 3 * rank;
    if (rank && w.o[RESULT].shape.dim[rank - 1] % 4 == 0)
        for (int i = 1; i < w.n; i++)
            if (is_strided(class[i])) class[i] = refine(&w.o[i]);
    word[RESULT] = words;
    if (is_strided(class[RESULT])) words += rank;
    for (int i = 1; i < w.n; i++) {
        word[i] = words;
        words += is_strided(class[i]) ? 1 + rank : 1;
    }
    words = (words + 3) / 4 * 4;
    const char *lines = defines(l, &w, class, word, words, strided != 0);
    launch *x = lines ? lower_launch(l, "elementwise/map.comp", lines) : NULL;
    if (!x) return lower_error(l);

    uint32_t first[MAX_OPERANDS] = {0};
    for (int i = 1; i <= w.n && s == MARE_OK; i++) {
        int k = i < w.n ? i : RESULT;
        if (class[k] != CLASS_WORD)
            s = launch_bind(l, x, &w.o[k], k == RESULT ? WRITE : READ, &first[k]);
    }
    if (s != MARE_OK) return s;
    uint32_t group = lower_workgroup(l);
    launch_spec(x, group);
    launch_u32(x, (uint32_t)count);
    launch_u32(x, first[RESULT]);
    for (int d = 0; d < rank; d++) {
        uint32_t size = (uint32_t)w.o[RESULT].shape.dim[d], multiplier, shift;
        division(size, &multiplier, &shift);
        launch_u32(x, size);
        launch_u32(x, multiplier);
        launch_u32(x, shift);
    }
    for (int i = 0; i < w.n; i++) {
        if (class[i] == CLASS_WORD)
            launch_dyn(x, w.o[i].constant, 0);
        else if (i != RESULT)
            launch_u32(x, first[i]);
        for (int d = 0; d < rank && is_strided(class[i]); d++)
            launch_i32(x, (int32_t)w.o[i].view.stride[d]);
    }
    while (x->n_params < words)
        launch_u32(x, 0);
    uint64_t per_group = (uint64_t)group * 4;
    return launch_groups(l, x, ((uint64_t)count + per_group - 1) / per_group);
}

/* Does the operand fit one binding, wherever the binding's start falls? */
static bool fits(const lowering *l, const operand *o) {
    if (!buffered(o)) return true;
    int64_t reach = 1;
    for (int d = 0; d < o->shape.rank; d++) {
        int64_t step = o->view.stride[d] < 0 ? -o->view.stride[d] : o->view.stride[d];
        reach += (o->shape.dim[d] - 1) * step;
    }
    return (uint64_t)reach * mare_dtype_size(o->dtype) + 512 <= l->caps->binding;
}

/* Halves the work along its outermost axis until each part fits the device's bindings. */
static mare_status divide(lowering *l, const work *w) {
    const shape *s = &w->o[RESULT].shape;
    bool fit = shape_count(s) <= (int64_t)1 << 30;
    for (int i = 0; i < w->n; i++)
        fit = fit && fits(l, &w->o[i]);
    if (fit || s->rank == 0) return emit(l, *w);
    int64_t inner = shape_count(s) / s->dim[0], half = s->dim[0] / 2;
    /* The second half starts at a multiple of 256 elements where it can, of 4 where packed dtypes
     * need it. Where none is left, one part takes all and binding it tells what is too large. */
    if (half >= 256)
        half = half / 256 * 256;
    else if (half >= 4)
        half = half / 4 * 4;
    if (half == 0 || (half * inner % 4 != 0 && mare_dtype_size(w->o[RESULT].dtype) < 4))
        return emit(l, *w);
    for (int part = 0; part < 2; part++) {
        work p = *w;
        for (int i = 0; i < w->n; i++) {
            operand *o = &p.o[i];
            if (part) o->view.offset += half * o->view.stride[0];
            o->shape.dim[0] = part ? s->dim[0] - half : half;
        }
        collapse(&p, (1u << p.n) - 1u);
        mare_status status = divide(l, &p);
        if (status != MARE_OK) return status;
    }
    return MARE_OK;
}

mare_status lower_map(lowering *l, const char *expr, mare_dtype compute, const operand *in,
                      int n_in, const operand *out) {
    if (shape_count(&out->shape) == 0) return MARE_OK;
    if (n_in + 1 > MAX_OPERANDS)
        return error_set(l->error, MARE_E_ARGUMENT, "%s: %d inputs, at most %d are possible",
                         l->node->op->name, n_in, MAX_OPERANDS - 1);
    work w = {.expr = expr, .compute = compute, .n = n_in + 1};
    w.o[RESULT] = *out;
    for (int i = 0; i < n_in; i++)
        w.o[i + 1] = in[i];
    mare_status s = broadcast(l, &w);
    if (s != MARE_OK) return s;
    collapse(&w, (1u << w.n) - 1u);
    return divide(l, &w);
}
