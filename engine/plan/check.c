#include "plan/check.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

double check_terms(const node *n) {
    double out = (double)shape_count(&n->shape), most = 1, product = 1;
    if (out == 0) return 1;
    for (int i = 0; i < n->n_in; i++) {
        double in = (double)shape_count(&n->in[i]->shape);
        most = fmax(most, in / out);
        if (i < 2) product *= in;
    }
    return n->n_in >= 2 ? fmax(most, sqrt(product / out)) : most;
}

/* n's elements as doubles, malloc'ed; null after an error. */
static double *read_values(planner *p, node *n) {
    int64_t count = shape_count(&n->shape);
    size_t bytes = (size_t)count * mare_dtype_size(n->dtype);
    double *x = malloc(((size_t)count + 1) * sizeof *x);
    void *data = malloc(bytes + 1);
    mare_status status = MARE_OK;
    if (!x || !data) {
        status = error_no_memory(n->g->error, bytes);
    } else if (node_is_const(n)) {
        x[0] = dtype_value(n->dtype, n->dyn[0]);
    } else {
        status = plan_read(p, n, data, bytes);
        if (!status) dtype_unpack(n->dtype, data, x, count);
    }
    free(data);
    if (!status) return x;
    free(x);
    return NULL;
}

mare_status check_begin(planner *p, node *n, check_inputs *in) {
    *in = (check_inputs){.n = n->n_in};
    in->value = calloc((size_t)n->n_in + 1, sizeof *in->value);
    if (!in->value) return error_no_memory(n->g->error, sizeof *in->value);
    for (int i = 0; i < n->n_in; i++)
        if (!(in->value[i] = read_values(p, n->in[i]))) return n->g->error->code;
    return MARE_OK;
}

void check_free(check_inputs *in) {
    for (int i = 0; in->value && i < in->n; i++)
        free(in->value[i]);
    free(in->value);
}

/* ---- Tolerance ---------------------------------------------------------------------------- */

static double largest_of(const double *x, int64_t n) {
    double most = 0;
    for (int64_t i = 0; i < n; i++)
        if (isfinite(x[i])) most = fmax(most, fabs(x[i]));
    return most;
}

/* What rounding may make of an element `ref`: 8 units for the function, one for every term of a
 * sum, of the largest terms that there may be. */
static double tolerance_of(const node *n, const check_inputs *in, const double *ref, double *unit) {
    double largest = largest_of(ref, shape_count(&n->shape)), terms = check_terms(n);
    /* What comes of no input (random numbers) has none that widen() could move. */
    double scale = n->n_in ? fmin(largest, 1) : largest, product = 1;
    *unit = dtype_roundoff(n->dtype);
    for (int i = 0; i < in->n; i++) {
        const node *from = n->in[i];
        if (!dtype_is_float(from->dtype)) continue;
        *unit = fmax(*unit, dtype_roundoff(from->dtype));
        double peak = largest_of(in->value[i], shape_count(&from->shape));
        product *= fmax(peak, 1);
    }
    if (terms > 1) scale = fmax(largest, product);
    *unit *= 8 + terms;
    return *unit * scale;
}

/* Element by element, the range of what the reference makes of inputs that differ from the true
 * ones by a rounding: where a function is steep or jumps, the device may stand anywhere in it. */
static bool widen(const node *n, const check_inputs *in, double *low, double *high) {
    int64_t count = shape_count(&n->shape);
    double *out = malloc(((size_t)count + 1) * sizeof *out);
    double **moved = calloc((size_t)in->n + 1, sizeof *moved);
    bool ok = out && moved;
    for (int i = 0; i < in->n && ok; i++) {
        size_t size = (size_t)shape_count(&n->in[i]->shape);
        ok = (moved[i] = malloc((size + 1) * sizeof(double))) != NULL;
    }
    rng random = {.seed = 1};
    for (int round = 0; round < 8 && ok; round++) {
        for (int i = 0; i < in->n; i++) {
            double u = dtype_is_float(n->in[i]->dtype) ? ldexp(1, -23) : 0;
            for (int64_t k = 0; k < shape_count(&n->in[i]->shape); k++) {
                bool up = round < 2 ? round == 1 : (rng_u32(&random) & 1) == 1;
                moved[i][k] = in->value[i][k] * (up ? 1 + u : 1 - u);
            }
        }
        n->op->ref(n, (const double *const *)moved, out);
        for (int64_t k = 0; k < count; k++) {
            low[k] = fmin(low[k], out[k]);
            high[k] = fmax(high[k], out[k]);
        }
    }
    for (int i = 0; i < in->n && moved; i++)
        free(moved[i]);
    free(moved);
    free(out);
    return ok;
}

/* ---- Comparison --------------------------------------------------------------------------- */

static bool close_to(double x, double low, double high, double unit, double room) {
    if (x == low || x == high || (isnan(x) && (isnan(low) || isnan(high)))) return true;
    /* Devices may flush subnormal numbers to 0. */
    return x >= low - unit * fabs(low) - room - 1.2e-38 &&
           x <= high + unit * fabs(high) + room + 1.2e-38;
}

/* As n's dtype stores them. */
static mare_status round_values(const node *n, double *x, int64_t count) {
    void *packed = malloc((size_t)count * mare_dtype_size(n->dtype) + 1);
    if (!packed) return error_no_memory(n->g->error, (size_t)count);
    dtype_pack(n->dtype, x, packed, count);
    dtype_unpack(n->dtype, packed, x, count);
    free(packed);
    return MARE_OK;
}

/* The first element that is neither near its reference nor near what a rounding of the inputs makes
 * of it, or -1. */
static int64_t find_wrong(const node *n, const check_inputs *in, const double *x, double *ref,
                          mare_status *status) {
    int64_t count = shape_count(&n->shape), first = 0;
    double unit, room = tolerance_of(n, in, ref, &unit);
    *status = round_values(n, ref, count);
    if (*status) return -1;
    while (first < count && close_to(x[first], ref[first], ref[first], unit, room))
        first++;
    if (first == count) return -1;
    double *low = malloc((size_t)count * sizeof *low), *high = malloc((size_t)count * sizeof *high);
    int64_t wrong = -1;
    if (low && high) {
        memcpy(low, ref, (size_t)count * sizeof *low);
        memcpy(high, ref, (size_t)count * sizeof *high);
    }
    if (!low || !high || !widen(n, in, low, high))
        *status = error_no_memory(n->g->error, (size_t)count * sizeof *low);
    for (int64_t i = first; i < count && wrong < 0 && !*status; i++)
        if (!close_to(x[i], low[i], high[i], unit, room)) wrong = i;
    free(low);
    free(high);
    return wrong;
}

mare_status check_end(planner *p, node *n, const check_inputs *in) {
    int64_t count = shape_count(&n->shape);
    if (!n->op->ref || count == 0) return MARE_OK;
    char dims[SHAPE_TEXT];
    double *ref = malloc((size_t)count * sizeof *ref), *x = read_values(p, n);
    mare_status status = MARE_OK;
    if (!ref || !x) {
        status = n->g->error->code ? n->g->error->code : error_no_memory(n->g->error, 0);
    } else {
        n->op->ref(n, (const double *const *)in->value, ref);
        int64_t wrong = find_wrong(n, in, x, ref, &status);
        if (wrong >= 0)
            status =
                error_set(n->g->error, MARE_E_SHADER,
                          "check: %s: element %lld of %s is %.9g on the device and %.9g by the "
                          "reference (from %s:%d)",
                          n->op->name, (long long)wrong, shape_text(&n->shape, dims), x[wrong],
                          ref[wrong], n->file ? n->file : "?", n->line);
    }
    free(ref);
    free(x);
    return status;
}
