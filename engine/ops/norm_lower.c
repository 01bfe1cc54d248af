/* Launches of shaders/norm/rows.comp. */
#include "ops/norm_lower.h"

#include "ops/internal.h"
#include "ops/loop.h"

#include <string.h>

/* The operands of one node, over the rows from `from` on (rows 0: all). */
typedef struct job {
    const norm_attr *attr;
    extent e;
    operand x, out, gy, weight, bias, given, given_sums;
    bool has_gy, has_weight, has_bias, has_moments, has_sums;
    const char *kind;
    int64_t from, parts;
    const operand *moments, *sums; /* what the parts came to; null: not cut into parts */
} job;

static int64_t part_length(const job *j) {
    int64_t part = (j->e.length + j->parts - 1) / j->parts;
    return j->e.length % 4 == 0 ? (part + 3) / 4 * 4 : part;
}

/* Elements from one run of a row to its next, in runs of *run. */
static int64_t jump_of(const job *j, int64_t *run) {
    const extent *e = &j->e;
    bool per_run = j->attr->per != e->length && j->attr->per > 1;
    *run = per_run ? j->attr->per : e->outer > 1 ? e->inner : e->length;
    return e->outer > 1 ? e->rows * e->inner : *run;
}

/* Can the kernel go through rows by whole fours? */
static bool in_fours(const job *j, const operand *out) {
    int64_t run, jump = jump_of(j, &run), inner = j->e.outer > 1 ? j->e.inner : j->e.length;
    const operand *all[] = {&j->x, out, j->has_gy ? &j->gy : out, j->has_weight ? &j->weight : out,
                            j->has_bias ? &j->bias : out};
    bool fours = run % 4 == 0 && jump % 4 == 0 && inner % 4 == 0;
    for (int i = 0; i < 5; i++)
        fours = fours && all[i]->view.offset % 4 == 0;
    return fours;
}

/* Has each row, or part of one, a workgroup? A CPU need not read neighbours at once, and what a
 * workgroup does for each row costs it as much as some 100 elements. */
static bool by_group(const lowering *l, const job *j) {
    const extent *e = &j->e;
    int64_t part = part_length(j), least = 64;
    if (l->caps->type == DEV_CPU && e->rows >= 64) least = 256;
    bool side_by_side = e->outer > 1 && e->inner < 16 && e->rows >= 64;
    return j->parts > 1 || (!side_by_side && part >= least);
}

static mare_status emit(lowering *l, const job *j, const operand *out) {
    const norm_attr *a = j->attr;
    const extent *e = &j->e;
    bool total = strcmp(j->kind, "total") == 0; /* one invocation adds up the parts of a row */
    int64_t jobs = total ? e->rows : e->rows * j->parts, part = part_length(j), run,
            jump = jump_of(j, &run);
    bool group = !total && by_group(l, j), four = in_fours(j, out);
    bool per_row = a->per == e->length, per_run = !per_row && a->per > 1;
    bool runs = e->outer > 1 || per_run;
    int bind = out->after ? 1 : 2, gy_at = j->has_gy ? ++bind : 0,
        weight_at = j->has_weight ? ++bind : 0, bias_at = j->has_bias ? ++bind : 0,
        moments_at = j->moments || j->has_moments ? ++bind : 0,
        sums_at = j->sums || j->has_sums ? ++bind : 0;
    uint32_t first[7] = {0}, wide = four ? 4 : 1;
    uint32_t size = group ? loop_group(l, part / wide) : loop_alone(l, jobs);
    const char *defines =
        lower_text(l, "KIND_%s 1\n%s%s%s%s%s", j->kind, loop_group_defines(l, group ? size : 0),
                   four ? "FOUR 1\n" : "", a->centred ? "CENTRED 1\n" : "", runs ? "RUNS 1\n" : "",
                   per_row   ? "PER_ROW 1\n"
                   : per_run ? "PER_RUN 1\n"
                             : "PER_ELEMENT 1\n");
    const struct {
        const char *name;
        int at;
    } more[] = {{"GY_AT", gy_at},
                {"WEIGHT_AT", weight_at},
                {"BIAS_AT", bias_at},
                {j->has_moments ? "MOMENTS_AT" : "JOIN_parts", moments_at},
                {j->has_sums ? "SUMS_AT" : "JOIN_sums", sums_at}};
    for (int i = 0; i < 5 && defines; i++)
        if (more[i].at) defines = lower_text(l, "%s%s %d\n", defines, more[i].name, more[i].at);
    launch *x = defines ? lower_launch(l, "norm/rows.comp", defines) : NULL;
    if (!x) return lower_error(l);
    mare_status s = launch_bind(l, x, &j->x, READ, &first[0]);
    if (!s && !out->after) s = launch_bind(l, x, out, WRITE, &first[1]);
    if (!s && j->has_gy) s = launch_bind(l, x, &j->gy, READ, &first[2]);
    if (!s && j->has_weight) s = launch_bind(l, x, &j->weight, READ, &first[3]);
    if (!s && j->has_bias) s = launch_bind(l, x, &j->bias, READ, &first[4]);
    const operand *moments = j->has_moments ? &j->given : j->moments;
    const operand *sums = j->has_sums ? &j->given_sums : j->sums;
    if (!s && moments) s = launch_bind(l, x, moments, READ, &first[5]);
    if (!s && sums) s = launch_bind(l, x, sums, READ, &first[6]);
    if (s) return s;
    bool elements = four && a->per == 1; /* weights are read by fours, too */
    launch_spec(x, size);
    launch_u32(x, (uint32_t)e->rows);
    launch_u32(x, (uint32_t)e->length / wide);
    launch_u32(x, (uint32_t)part / wide);
    launch_u32(x, (uint32_t)j->parts);
    launch_u32(x, (uint32_t)(e->outer > 1 ? e->inner : e->length) / wide);
    launch_u32(x, (uint32_t)run / wide);
    launch_u32(x, (uint32_t)jump / wide);
    launch_u32(x, (uint32_t)j->from);
    launch_u32(x, (uint32_t)a->groups);
    launch_u32(x, (uint32_t)(e->length / a->per) / (elements ? 4 : 1));
    launch_f32(x, (float)a->eps);
    bool results = strcmp(j->kind, "norm") == 0 || strcmp(j->kind, "grad") == 0;
    for (int i = 0; i < 7; i++) {
        bool in_four = i == 1 ? results : i < 3 || (i < 5 && elements);
        launch_u32(x, in_four ? first[i] / wide : first[i]);
    }
    s = launch_attach(l, x, NULL, out);
    if (s) return s;
    return launch_groups(l, x, group ? (uint64_t)jobs : ((uint64_t)jobs + size - 1) / size);
}

/* Few long rows are cut into parts, so that the device has enough to do at once; their figures go
 * through scratch memory. */
static int64_t part_count(const lowering *l, const job *j) {
    bool cpu = l->caps->type == DEV_CPU;
    if (l->caps->storage_buffers < 6) return 1;
    int64_t wanted = (cpu ? 16 : 256) / j->e.rows, most = j->e.length / 4096;
    int64_t parts = wanted < most ? wanted : most;
    return parts < 2 ? 1 : parts;
}

/* The sums of rows, which are added up of those of their parts. */
static mare_status run_sums(lowering *l, const job *j) {
    shape s = shape_of(1, j->e.rows * j->parts * 2);
    operand sums = lower_scratch(l, MARE_F32, &s);
    mare_status status = emit(l, j, &sums);
    job total = *j;
    total.kind = "total";
    total.has_gy = total.has_moments = false;
    total.sums = &sums;
    return status ? status : emit(l, &total, &j->out);
}

static mare_status run(lowering *l, job *j) {
    j->parts = part_count(l, j);
    if (j->parts == 1) return emit(l, j, &j->out);
    int64_t part = part_length(j);
    j->parts = (j->e.length + part - 1) / part;
    if (strcmp(j->kind, "sums") == 0) return run_sums(l, j);
    if (j->has_moments) return emit(l, j, &j->out);
    shape three = shape_of(1, j->e.rows * j->parts * 3),
          two = shape_of(1, j->e.rows * j->parts * 2);
    operand moments = lower_scratch(l, MARE_F32, &three), sums;
    job p = *j;
    p.kind = "parts";
    p.has_gy = p.has_weight = p.has_bias = false;
    mare_status s = emit(l, &p, &moments);
    j->moments = &moments;
    if (!s && j->has_gy) {
        sums = lower_scratch(l, MARE_F32, &two);
        p = *j;
        p.kind = "sums";
        s = emit(l, &p, &sums);
        j->sums = &sums;
    }
    return s ? s : emit(l, j, &j->out);
}

/* Rows from, from + 1, ... of x, or of something like it. */
static operand rows_of(const operand *o, int64_t from, int64_t count, int64_t width) {
    operand r = *o;
    r.view.offset += from * width;
    r.shape = shape_of(1, count * width);
    r.view.stride[0] = 1;
    return r;
}

mare_status norm_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    const norm_attr *a = attr_of(n);
    bool sums = n->op == &op_desc_norm_sums, moments = n->op == &op_desc_norm_moments;
    bool grad = n->op == &op_desc_norm_rows_grad;
    if (shape_count(&n->shape) == 0) return MARE_OK;
    job all = {.attr = a, .e = extent_of(&n->in[0]->shape), .has_gy = grad || sums};
    all.has_weight = a->weight;
    all.has_bias = a->bias;
    /* A device that cannot bind them too takes them anew. */
    all.has_moments = a->moments && (sums || l->caps->storage_buffers >= (grad ? 6 : 5));
    all.has_sums = all.has_moments && grad;
    all.kind = grad ? "grad" : moments ? "moments" : sums ? "sums" : "norm";
    operand *to[5] = {&all.x}, unused;
    int k = 1;
    if (all.has_gy) to[k++] = &all.gy;
    if (a->weight) to[k++] = &all.weight;
    if (a->bias) to[k++] = &all.bias;
    if (a->moments) to[k++] = all.has_moments ? &all.given : &unused;
    if (a->moments && grad) to[k++] = all.has_sums ? &all.given_sums : &unused;
    for (int i = 0; i < n->n_in; i++) {
        mare_status s = lower_contiguous(l, &in[i], to[i]);
        if (s) return s;
    }
    all.out = *out;
    /* Whole rows, as many as one binding takes; rows in several runs go through the whole tensor.
     */
    int64_t width = all.e.outer > 1 ? 0 : all.e.length, most = all.e.rows;
    if (width) {
        int64_t fit = (int64_t)(l->caps->binding - 512) / 4 / width;
        most = fit < 1 ? 1 : fit < most ? fit : most;
    }
    /* A program that is attached takes all rows at once. */
    if (moments || sums || most < all.e.rows) all.out.after = NULL;
    for (int64_t from = 0; from < all.e.rows; from += most) {
        job j = all;
        j.from = from;
        j.e.rows = all.e.rows - from < most ? all.e.rows - from : most;
        if (width) {
            j.x = rows_of(&all.x, from, j.e.rows, width);
            j.out = rows_of(&all.out, from, j.e.rows, moments ? 3 : sums ? 2 : width);
            if (all.has_gy) j.gy = rows_of(&all.gy, from, j.e.rows, width);
        }
        mare_status s = run(l, &j);
        if (s) return s;
    }
    return MARE_OK;
}
