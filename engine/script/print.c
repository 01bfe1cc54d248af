/* tostring(tensor): values in aligned columns, elided when there are many, then shape, element type
 * and device. */
#include "base/text.h"
#include "graph/graph.h"
#include "script/lib.h"

#include <math.h>
#include <string.h>

enum { PRINT_ALL = 1000, EDGE = 3, LINE = 96, CELL = 32 };

typedef struct format {
    mare_dtype dtype;
    bool scientific;
    int decimals, width;
} format;

typedef struct sheet {
    const double *values;
    int rank;
    int64_t shown[MARE_MAX_DIMS]; /* dims of values */
    bool cut[MARE_MAX_DIMS];      /* "..." stands behind the first EDGE entries */
    format f;
    text out;
} sheet;

/* ---- One number ---------------------------------------------------------------------------- */

/* Fixed notation with as few decimals (at most 4) as tell the values apart, or scientific. */
static format choose_format(mare_dtype dtype, const double *v, int64_t n) {
    format f = {.dtype = dtype, .decimals = 1};
    double most = 0, least = INFINITY;
    for (int64_t i = 0; i < n; i++) {
        double a = fabs(v[i]);
        if (!isfinite(a) || a == 0) continue;
        if (a > most) most = a;
        if (a < least) least = a;
    }
    f.scientific = most >= 1e8 || (most > 0 && (least < 1e-4 || most / least > 1e6));
    if (f.scientific) {
        f.decimals = 4;
        return f;
    }
    for (int64_t i = 0; i < n; i++) {
        if (!isfinite(v[i])) continue;
        /* Digits of the value rounded to four decimals, without zeros at the end. */
        double digits = nearbyint(fabs(v[i]) * 1e4);
        for (int d = 4; d > f.decimals && digits > 0; d--, digits /= 10)
            if (fmod(digits, 10) != 0) f.decimals = d;
    }
    return f;
}

static int cell(const format *f, double v, char out[CELL]) {
    if (f->dtype == MARE_BOOL) return snprintf(out, CELL, "%s", v != 0 ? "true" : "false");
    if (!dtype_is_float(f->dtype)) return snprintf(out, CELL, "%.0f", v);
    if (isnan(v)) return snprintf(out, CELL, "nan");
    if (isinf(v)) return snprintf(out, CELL, v > 0 ? "inf" : "-inf");
    if (f->scientific) return snprintf(out, CELL, "%.*e", f->decimals, v);
    return snprintf(out, CELL, "%.*f", f->decimals, v);
}

/* ---- The whole ----------------------------------------------------------------------------- */

static const double *row(sheet *s, const double *v, int64_t n, int indent) {
    char one[CELL];
    int column = indent + 1;
    text_add(&s->out, "[");
    for (int64_t i = 0; i < n; i++) {
        if (s->cut[s->rank - 1] && i == EDGE) {
            text_add(&s->out, ", ...");
            column += 5;
        }
        if (i) {
            text_add(&s->out, ", ");
            column += 2;
            if (column + s->f.width > LINE) {
                text_add(&s->out, "\n%*s", indent + 1, "");
                column = indent + 1;
            }
        }
        cell(&s->f, *v++, one);
        text_add(&s->out, "%*s", s->f.width, one);
        column += s->f.width;
    }
    text_add(&s->out, "]");
    return v;
}

static const double *block(sheet *s, const double *v, int depth) {
    if (depth == s->rank - 1) return row(s, v, s->shown[depth], depth);
    text_add(&s->out, "[");
    for (int64_t i = 0; i < s->shown[depth]; i++) {
        /* An empty line between matrices, none between rows. */
        const char *gap = depth < s->rank - 2 ? ",\n\n" : ",\n";
        if (i) text_add(&s->out, "%s%*s", gap, depth + 1, "");
        if (s->cut[depth] && i == EDGE) text_add(&s->out, "...%s%*s", gap, depth + 1, "");
        v = block(s, v, depth + 1);
    }
    text_add(&s->out, "]");
    return v;
}

/* The first and last EDGE entries of every long dimension of t, as a tensor on the top. */
static mare_tensor *edges(lua_State *L, mare_tensor *t, bool cut[MARE_MAX_DIMS]) {
    int rank = mare_tensor_rank(t);
    for (int axis = 0; axis < rank; axis++) {
        const int64_t *dims = mare_tensor_dims(t);
        if (dims[axis] <= 2 * EDGE) continue;
        int64_t start[MARE_MAX_DIMS] = {0}, stop[MARE_MAX_DIMS], step[MARE_MAX_DIMS];
        for (int i = 0; i < rank; i++) {
            stop[i] = dims[i];
            step[i] = 1;
        }
        mare_tensor **ends[2] = {tensor_push(L), tensor_push(L)};
        stop[axis] = EDGE;
        TRY(L, mare_slice(t, start, stop, step, ends[0]));
        start[axis] = dims[axis] - EDGE;
        stop[axis] = dims[axis];
        TRY(L, mare_slice(t, start, stop, step, ends[1]));
        mare_tensor *parts[2] = {*ends[0], *ends[1]}, **joined = tensor_push(L);
        TRY(L, mare_concat(2, parts, axis, joined));
        t = *joined;
        cut[axis] = true;
    }
    return t;
}

int tensor_tostring(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    script *state = script_of(L);
    sheet s = {.rank = mare_tensor_rank(t)};
    luaL_checkstack(L, 32, "tensor");
    mare_context *ctx = script_context(L);
    mare_tensor *shown = t;
    if (mare_tensor_count(t) > PRINT_ALL) {
        TRY(L, mare_eval(ctx, 1, &t)); /* once, and not for the edges alone */
        shown = edges(L, t, s.cut);
    }
    int64_t n = mare_tensor_count(shown);
    double *values = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *values, 0);
    TRY(L, mare_tensor_doubles(shown, values, n));
    memcpy(s.shown, mare_tensor_dims(shown), (size_t)s.rank * sizeof *s.shown);
    s.values = values;
    s.f = choose_format(mare_tensor_dtype(t), values, n);
    if (!dtype_is_float(mare_tensor_dtype(t))) s.f.scientific = false;
    char one[CELL];
    for (int64_t i = 0; i < n; i++) {
        int w = cell(&s.f, values[i], one);
        if (w > s.f.width) s.f.width = w;
    }
    const char *about = lua_pushfstring(
        L, "%s %s%s, %s", mare_dtype_name(mare_tensor_dtype(t)), tensor_push_shape_text(L, t),
        mare_requires_grad(t) ? ", requires_grad" : "", state->device);
    /* No Lua error from here to text_free. */
    if (s.rank == 0) {
        cell(&s.f, values[0], one);
        text_add(&s.out, "%s", one);
    } else if (n == 0) {
        text_add(&s.out, "[]");
    } else {
        block(&s, values, 0);
    }
    text_add(&s.out, "%s%s", s.rank > 1 ? "\n" : "  ", about);
    bool failed = s.out.failed;
    char *copy = failed ? NULL : lua_newuserdatauv(L, s.out.len + 1, 0);
    if (copy) memcpy(copy, text_str(&s.out), s.out.len + 1);
    text_free(&s.out);
    if (failed) return script_error(L, "the host has no memory left");
    lua_pushstring(L, copy);
    script_settle(L);
    return 1;
}
