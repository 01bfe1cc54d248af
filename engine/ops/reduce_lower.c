/* Lowering of reductions to shaders/reduce/reduce.comp. */
#include "ops/loop.h"
#include "ops/reduce.h"

#include <string.h>

typedef struct job {
    const char *kind;
    operand in, out;
    loop kept, gone; /* gone: what is reduced; its output strides are 0 */
    /* The second half of an argmax in parts: for each result, places to choose among. */
    const operand *candidates;
} job;

static mare_status run(lowering *l, job *j);

static bool is_arg(const job *j) {
    return strncmp(j->kind, "arg", 3) == 0;
}

/* Results of `parts` pieces each, side by side in scratch memory; then those are reduced, or of
 * places the best is picked. */
static operand begin_parts(lowering *l, const job *j, int64_t parts, loop *kept) {
    shape s = shape_of(1, loop_count(&j->kept) * parts);
    int64_t stride = parts;
    *kept = j->kept;
    for (int d = kept->rank - 1; d >= 0; d--) {
        kept->out[d] = stride;
        stride *= kept->dim[d];
    }
    return lower_scratch(l, j->out.dtype, &s);
}

/* One workgroup a result where its elements stand in a row, or where results are few and do not
 * stand in a row themselves; else one invocation a result, neighbours side by side. What a group
 * has to do for each result costs a CPU as much as some 100 elements. */
static bool by_group(const lowering *l, const job *j) {
    int inner = j->gone.rank - 1, outer = j->kept.rank - 1;
    int64_t results = loop_count(&j->kept);
    if (loop_count(&j->gone) < (l->caps->type == DEV_CPU && results >= 64 ? 256 : 64)) return false;
    if (inner >= 0 && j->gone.in[inner] == 1 && j->gone.dim[inner] >= 16) return true;
    bool columns = outer >= 0 && j->kept.in[outer] == 1 && j->kept.dim[outer] >= 16;
    return !columns && results < 256;
}

/* How the kernel walks. */
typedef struct walk {
    loop kept, gone; /* with the axis that is walked in fours cut to a quarter */
    bool group, four;
    int columns;    /* fours of them that an invocation does; 0: not so */
    int64_t beside; /* from one column to the next, in the output */
} walk;

/* Fours are read whole where all begin at multiples of 4, and on a CPU where a program makes them.
 */
static walk walk_of(const lowering *l, const job *j, const loop *kept) {
    walk w = {.kept = *kept, .gone = j->gone, .group = by_group(l, j)};
    int inner = w.gone.rank - 1, outer = kept->rank - 1;
    bool cpu = l->caps->type == DEV_CPU, before = j->in.before;
    if (j->candidates || (before && !cpu)) return w;
    if (inner >= 0 && w.gone.in[inner] == 1 && w.gone.dim[inner] % 4 == 0) {
        w.four = true;
        w.gone.dim[inner] /= 4;
        w.gone.in[inner] = 4;
    } else if (outer >= 0 && !w.group && kept->in[outer] == 1 && kept->dim[outer] % 4 == 0 &&
               (cpu || loop_count(kept) >= 65536)) {
        /* A GPU reads neighbours at once anyhow, and needs many invocations more than wide ones. Of
         * software drivers, those that make whole vectors of loads are 3 times as fast with twice
         * as wide ones, those that do not 0.6 times. */
        w.columns = l->caps->has[DEV_UNIFORM_LOADS] && loop_count(kept) >= 256 ? 2 : 1;
        w.beside = kept->out[outer];
        w.kept.dim[outer] /= 4;
        w.kept.in[outer] = 4;
        w.kept.out[outer] *= 4;
    }
    bool whole = loop_fours(&j->in, &w.kept, true) && loop_fours(&j->in, &w.gone, true);
    if ((w.four || w.columns) && (whole || before)) return w;
    return (walk){.kept = *kept, .gone = j->gone, .group = w.group};
}

/* How many parts each reduction is cut into, so that the device has enough to do at once. */
static int64_t part_count(const walk *w) {
    int64_t results = loop_count(&w->kept), length = loop_count(&w->gone);
    int64_t wide = w->four ? 4 : 1, least = w->group ? 4096 / wide : 128;
    int64_t wanted = (w->group ? 256 : 8192) / results, most = (length + least - 1) / least;
    int64_t parts = wanted < most ? wanted : most;
    if (parts < 2) return 1;
    int64_t part = (length + parts - 1) / parts;
    return (length + part - 1) / part; /* none is empty */
}

static mare_status emit(lowering *l, const job *j, int64_t parts, const operand *to,
                        const loop *all) {
    walk w = walk_of(l, j, all);
    const loop *kept = &w.kept;
    bool ints = j->in.dtype == MARE_I32, pick = j->candidates;
    int64_t results = loop_count(kept), length = loop_count(&w.gone);
    if (pick) {
        length = shape_count(&j->candidates->shape) / results;
        w.group = length >= 64;
    }
    uint32_t size = w.group ? loop_group(l, length) : loop_alone(l, results * parts);
    if (w.columns > 1) size = loop_group(l, length);
    int words = (8 + 3 * kept->rank + 2 * w.gone.rank + 3) / 4 * 4;
    const char *type = ints ? "INTS 1\nT int\nT4 ivec4\n" : "FLOATS 1\nT float\nT4 vec4\n";
    const char *columns = w.columns ? lower_text(l, "COLUMNS %d\n", w.columns) : "";
    if (!columns) return lower_error(l);
    const char *defines =
        lower_text(l, "KIND_%s 1\n%s%s%s%s%sKEPT %d\nREDUCED %d\nWORDS %d\n", j->kind, type,
                   loop_group_defines(l, w.group ? size : 0), w.four ? "FOUR 1\n" : "", columns,
                   pick ? "PICK 1\n" : "", kept->rank, w.gone.rank, words / 4);
    launch *x = defines ? lower_launch(l, "reduce/reduce.comp", defines) : NULL;
    if (!x) return lower_error(l);
    uint32_t in_first = (uint32_t)j->in.view.offset, out_first = 0, pick_first = 0;
    operand in = loop_operand(&j->in, all, &j->gone, true);
    loop pieces = {1, {parts}, {0}, {1}};
    operand out = loop_operand(to, all, parts > 1 ? &pieces : NULL, false);
    mare_status s = MARE_OK;
    if (!in.before) s = launch_bind(l, x, &in, READ, &in_first);
    if (s == MARE_OK && !out.after) s = launch_bind(l, x, &out, WRITE, &out_first);
    if (s == MARE_OK && pick) s = launch_bind(l, x, j->candidates, READ, &pick_first);
    if (s != MARE_OK) return s;
    launch_spec(x, size);
    launch_u32(x, (uint32_t)results);
    launch_u32(x, (uint32_t)length);
    launch_u32(x, in_first);
    launch_u32(x, out_first);
    launch_u32(x, (uint32_t)((length + parts - 1) / parts));
    launch_u32(x, (uint32_t)parts);
    launch_u32(x, pick_first);
    launch_u32(x, (uint32_t)w.beside);
    loop_words(x, kept, true);
    loop_words(x, &w.gone, false);
    while (x->n_params < words)
        launch_u32(x, 0);
    s = launch_attach(l, x, &in, &out);
    if (s != MARE_OK) return s;
    uint64_t work = (uint64_t)(results * parts), wide = (uint64_t)size * (uint64_t)w.columns;
    if (w.columns) work = ((uint64_t)results + wide - 1) / wide * (uint64_t)parts;
    return launch_groups(l, x, w.group || w.columns ? work : (work + size - 1) / size);
}

static mare_status finish_parts(lowering *l, const job *j, const operand *scratch, const loop *kept,
                                int64_t parts) {
    job last = {.kind = j->kind, .in = *scratch, .out = j->out};
    if (is_arg(j)) {
        last = *j;
        last.candidates = scratch;
        return emit(l, &last, 1, &j->out, &j->kept);
    }
    for (int d = 0; d < kept->rank; d++)
        loop_add(&last.kept, kept->dim[d], kept->out[d], j->kept.out[d]);
    loop_add(&last.gone, parts, 1, 0);
    return run(l, &last);
}

/* Cuts a job in two along the axis that reaches farthest, so that each half binds less memory. */
static mare_status halve(lowering *l, job *j) {
    loop *x = NULL;
    int axis = 0;
    int64_t best = 0;
    for (int k = 0; k < 2; k++) {
        loop *c = k ? &j->gone : &j->kept;
        for (int d = 0; d < c->rank; d++) {
            int64_t reach = (c->dim[d] - 1) * (c->in[d] < 0 ? -c->in[d] : c->in[d]);
            if (reach > best) best = reach, x = c, axis = d;
        }
    }
    if (!x || (x == &j->gone && is_arg(j))) /* binding it says what is too large */
        return emit(l, j, 1, &j->out, &j->kept);
    bool across = x == &j->gone;
    int64_t half = x->dim[axis] / 2;
    loop kept = j->kept;
    operand scratch = across ? begin_parts(l, j, 2, &kept) : j->out;
    for (int part = 0; part < 2; part++) {
        job p = *j;
        p.kept = kept;
        p.out = scratch;
        loop *c = across ? &p.gone : &p.kept;
        c->dim[axis] = part ? x->dim[axis] - half : half;
        if (part) {
            p.in.view.offset += half * c->in[axis];
            p.out.view.offset += across ? 1 : half * c->out[axis];
        }
        mare_status s = run(l, &p);
        if (s != MARE_OK) return s;
    }
    return across ? finish_parts(l, j, &scratch, &kept, 2) : MARE_OK;
}

static mare_status run(lowering *l, job *j) {
    operand in = loop_operand(&j->in, &j->kept, &j->gone, true);
    operand out = loop_operand(&j->out, &j->kept, NULL, false);
    if (!loop_fits(l, &in) || !loop_fits(l, &out)) {
        j->out.after = NULL; /* which would take all results at once */
        return halve(l, j);
    }
    walk w = walk_of(l, j, &j->kept);
    int64_t parts = part_count(&w);
    if (parts == 1) return emit(l, j, 1, &j->out, &j->kept);
    loop kept;
    operand scratch = begin_parts(l, j, parts, &kept);
    mare_status s = emit(l, j, parts, &scratch, &kept);
    return s == MARE_OK ? finish_parts(l, j, &scratch, &kept, parts) : s;
}

mare_status reduce_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    if (shape_count(&n->shape) == 0) return MARE_OK;
    const shape *s = &in[0].shape;
    bool keepdim = OP_ATTR(reduce_attr, n)->keepdim;
    if (shape_count(s) == 0) {
        operand value = {.buffer = -1, .dtype = n->dtype, .constant = n};
        return lower_map(l, "a", n->dtype, &value, 1, out);
    }
    job j = {.kind = n->op->name, .in = in[0], .out = *out};
    for (int d = 0, o = 0; d < s->rank; d++) {
        if (reduce_takes(n, d))
            loop_add(&j.gone, s->dim[d], in[0].view.stride[d], 0);
        else
            loop_add(&j.kept, s->dim[d], in[0].view.stride[d], out->view.stride[o]);
        if (!reduce_takes(n, d) || keepdim) o++;
    }
    return run(l, &j);
}
