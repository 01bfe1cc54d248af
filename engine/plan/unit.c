/* Lowering of nodes and of fused units. */
#include "plan/attach.h"
#include "plan/fuse.h"

#include <string.h>

/* The statement of an elementwise node over values of its inputs. */
static bool add_element(program *p, const node *n, const value *in, value *out) {
    const char *name[MAX_ELEMENT_INPUTS];
    mare_dtype compute = MARE_F32;
    text glsl = {0};
    bool ok = !n->op->element(n, NULL, &compute, NULL, p->l->error);
    for (int k = 0; k < n->n_in && ok; k++)
        ok = (name[k] = program_name(p, in[k], compute)) != NULL;
    ok = ok && !n->op->element(n, name, &compute, &glsl, p->l->error);
    const char *kept = ok ? lower_text(p->l, "%s", text_str(&glsl)) : NULL;
    text_free(&glsl);
    return kept && program_statement(p, kept, compute, n->dtype, out);
}

mare_status lower_node(lowering *l, const node *n, const operand *in, const operand *out) {
    if (!n->op->element) return n->op->lower(l, n, in, out);
    program p = {.l = l};
    value v[MAX_ELEMENT_INPUTS], y;
    bool ok = true;
    for (int k = 0; k < n->n_in && ok; k++)
        ok = program_input(&p, &in[k], &n->shape, &v[k]);
    ok = ok && add_element(&p, n, v, &y) && program_output(&p, y, out);
    mare_status status = ok ? lower_program(&p) : lower_error(l);
    program_free(&p);
    return status;
}

/* ---- Units -------------------------------------------------------------------------------- */

/* A unit on its way to a program. */
typedef struct building {
    fusion *f;
    const operand *at;
    program p;
    map values; /* by node + 1: its value's place in `kept` + 1 */
    VEC(value) kept;
    VEC(int) base;                 /* of each input: whose memory is read */
    int chain;                     /* whose nodes become statements */
    int core;                      /* that the chain joins, or -1 */
    const struct building *before; /* another chain that joins it, or null */
} building;

static bool value_of(building *b, int i, const shape *to, value *out);

static bool keep(building *b, int i, value v) {
    if (vec_push(&b->kept, v) &&
        map_put(&b->values, (uint64_t)i + 1, (void *)(uintptr_t)b->kept.len))
        return true;
    error_no_memory(b->f->l->error, sizeof v);
    return false;
}

static bool add_node(building *b, int i, value *out) {
    const node *x = b->f->order[i];
    value in[MAX_ELEMENT_INPUTS];
    for (int k = 0; k < x->n_in; k++)
        if (!value_of(b, b->f->rep[x->in[k]->index], &x->shape, &in[k])) return false;
    return add_element(&b->p, x, in, out) && keep(b, i, *out);
}

/* An input of the program: what lies at o, in the memory of node `base`. */
static bool add_input(building *b, const operand *o, int base, const shape *to, value *out) {
    if (!program_input(&b->p, o, to, out)) return false;
    if (b->base.len == b->p.in.len || vec_push(&b->base, base)) return true;
    error_no_memory(b->f->l->error, sizeof base);
    return false;
}

/* A number of the graph, in the loop: a parameter word. */
static bool add_number(building *b, int i, const shape *to, value *out) {
    const node *x = b->f->order[i];
    operand o = {.buffer = -1, .dtype = x->dtype, .constant = x};
    return add_input(b, &o, i, to, out) && keep(b, i, *out);
}

/* The value of node i where the loop has shape `to`. */
static bool value_of(building *b, int i, const shape *to, value *out) {
    const fusion *f = b->f;
    while (f->uniform[i] && !node_is_number(f->order[i]) && f->order[i]->op->view)
        i = f->rep[f->order[i]->in[0]->index]; /* equal elements, however they are seen */
    int s = f->source[i];
    bool inside = f->uniform[i] || (f->fusible[s] && f->chain[s] == b->chain);
    if (!inside) {
        operand o = b->at[i];
        if (s != i && s == b->core) { /* seen through a view, which has no place of its own */
            o = b->at[s];
            o.shape = f->order[i]->shape;
            shape_strides(&o.shape, o.view.stride);
        }
        return add_input(b, &o, f->base[i], to, out);
    }
    uintptr_t place = (uintptr_t)map_get(&b->values, (uint64_t)s + 1);
    if (place) {
        *out = b->kept.data[place - 1];
        return true;
    }
    return node_is_number(f->order[s]) ? add_number(b, s, to, out) : add_node(b, s, out);
}

static const char *label_of(fusion *f, const unit *u) {
    text t = {0};
    for (int m = 0; m < u->n; m++)
        text_add(&t, "%s%s", m ? "+" : "", f->order[u->node[m]]->op->name);
    const char *label = lower_text(f->l, "%s", text_str(&t));
    text_free(&t);
    return label;
}

/* Is the memory of node `base` read by nobody behind u, and in u by b's chain alone? */
static bool is_read_last(const building *b, const unit *u, int base, int buffer) {
    const fusion *f = b->f;
    if (f->pinned[base] || f->last[base] > u - f->units) return false;
    for (size_t i = 0; b->before && i < b->before->p.in.len; i++)
        if (b->before->p.in.data[i].buffer == buffer) return false;
    for (int m = 0; m < u->n; m++) {
        int i = u->node[m];
        for (int k = 0; f->chain[i] != b->chain && k < f->order[i]->n_in; k++)
            if (f->base[fusion_input(f, i, k)] == base) return false;
    }
    return true;
}

/* Does the loop step through all of a memory of so many bytes? */
static bool is_whole(const operand *o, uint64_t bytes) {
    return !o->view.offset && view_contiguous(&o->shape, &o->view) &&
           (uint64_t)shape_count(&o->shape) * mare_dtype_size(o->dtype) == bytes;
}

/* Is input k all of a temporary's memory, in the order of the loop, read by u last and by nothing
 * else of u? A result of its dtype can then take the memory: every invocation reads its elements
 * before it writes them. */
static bool is_spent(const building *b, const unit *u, size_t k) {
    const fusion *f = b->f;
    const operand *o = &b->p.in.data[k];
    int base = b->base.data[k];
    if (o->buffer < 0 || f->order[base]->store || !is_read_last(b, u, base, o->buffer) ||
        !is_whole(o, f->l->buffers.data[o->buffer]))
        return false;
    for (size_t i = 0; i < b->p.in.len; i++)
        if (i != k && b->p.in.data[i].buffer == o->buffer) return false;
    for (size_t i = 0; i < b->p.out.len; i++)
        if (b->p.out.data[i].to.buffer == o->buffer) return false; /* taken */
    return true;
}

/* Can member i be written where the value lies that it takes the place of? If the chain reads that,
 * it does so element by element, at the places that it writes. */
static bool can_donate(const building *b, const unit *u, int i) {
    const fusion *f = b->f;
    int donor = f->donor[i];
    if (donor < 0) return false;
    int buffer = b->at[donor].buffer;
    if (!is_read_last(b, u, donor, buffer)) return false;
    const node *x = f->order[i];
    uint64_t bytes = (uint64_t)shape_count(&x->shape) * mare_dtype_size(x->dtype);
    for (size_t k = 0; k < b->p.in.len; k++) {
        const operand *o = &b->p.in.data[k];
        if (o->buffer == buffer && (o->dtype != x->dtype || !is_whole(o, bytes))) return false;
    }
    return true;
}

/* Where the value of member i goes. The memory of a core's result is the last choice: it is none,
 * if the core takes the chain over. */
static operand find_room(const building *b, const unit *u, int i) {
    lowering *l = b->f->l;
    const node *x = b->f->order[i];
    const operand *spent = NULL;
    if (can_donate(b, u, i)) {
        operand room = lower_scratch(l, x->dtype, &x->shape);
        donation d = {room.buffer, b->at[b->f->donor[i]].buffer};
        if (!vec_push(&l->donations, d)) error_no_memory(l->error, sizeof d);
        return room;
    }
    for (size_t k = 0; k < b->p.in.len && l->passes & PASS_INPLACE; k++) {
        const operand *o = &b->p.in.data[k];
        bool raw = b->base.data[k] == b->core;
        if (o->dtype != x->dtype || !is_spent(b, u, k)) continue;
        spent = o;
        if (!raw) break;
    }
    if (!spent) return lower_scratch(l, x->dtype, &x->shape);
    operand room = {.buffer = spent->buffer, .dtype = x->dtype, .shape = x->shape};
    shape_strides(&x->shape, room.view.stride);
    return room;
}

/* The chain's nodes as statements, and what is stored of them as outputs. */
static bool add_chain(building *b, const unit *u, operand *at) {
    fusion *f = b->f;
    value *v = arena_alloc(f->l->mem, (size_t)u->n * sizeof *v);
    if (!v) return false;
    for (int m = 0; m < u->n; m++)
        if (f->chain[u->node[m]] == b->chain && !add_node(b, u->node[m], &v[m])) return false;
    for (int m = 0; m < u->n; m++) { /* when all inputs are known */
        int i = u->node[m];
        if (f->chain[i] != b->chain || !f->stored[i]) continue;
        at[i] = find_room(b, u, i);
        if (f->l->error->code || !program_output(&b->p, v[m], &at[i])) return false;
    }
    return true;
}

static void building_free(building *b) {
    program_free(&b->p);
    map_free(&b->values);
    vec_free(&b->kept);
    vec_free(&b->base);
}

/* All of u as one program. Its last node speaks for it in errors and profiles. */
static mare_status lower_chain(fusion *f, const unit *u, operand *at) {
    building b = {.f = f, .at = at, .p = {.l = f->l}, .chain = f->chain[u->node[0]], .core = -1};
    f->l->node = f->order[u->node[u->n - 1]];
    mare_status status = add_chain(&b, u, at) ? lower_program(&b.p) : lower_error(f->l);
    building_free(&b);
    return status;
}

/* The inputs of node i, where they lie. */
static operand *inputs_of(fusion *f, int i, const operand *at, operand small[8]) {
    const node *x = f->order[i];
    operand *in = x->n_in > 8 ? arena_alloc(f->l->mem, (size_t)x->n_in * sizeof *in) : small;
    for (int k = 0; in && k < x->n_in; k++)
        in[k] = at[fusion_input(f, i, k)];
    return in;
}

/* The chain in front of a reduction, as what its only input is made of. */
static bool build_before(building *b, const unit *u, int core, operand *at, attachment *out,
                         operand *in) {
    fusion *f = b->f;
    int read = fusion_input(f, core, 0), s = f->source[read];
    const node *x = f->order[read];
    b->chain = f->chain[s];
    value v;
    if (!add_chain(b, u, at) || !value_of(b, s, &f->order[s]->shape, &v)) return false;
    *in = (operand){.buffer = -1, .dtype = x->dtype, .shape = x->shape, .before = out};
    shape_strides(&x->shape, in->view.stride);
    *out = (attachment){.p = &b->p};
    return program_output(&b->p, v, in);
}

/* The chain behind a core, as what becomes of its result. */
static bool build_after(building *b, const unit *u, int chain, int core, operand *at,
                        attachment *out) {
    b->chain = chain;
    value raw;
    if (!add_chain(b, u, at) || !value_of(b, core, &b->f->order[core]->shape, &raw)) return false;
    *out = (attachment){.p = &b->p, .raw = raw.i};
    return true;
}

/* A core with the chains that joined it. */
static mare_status lower_joined(fusion *f, const unit *u, int core, operand *at) {
    lowering *l = f->l;
    const node *x = l->node = f->order[core];
    building before = {.f = f, .at = at, .p = {.l = l}, .core = core}, after = before;
    after.before = &before;
    attachment made_of, becomes;
    operand small[8], *in = inputs_of(f, core, at, small);
    if (!in) return error_no_memory(l->error, (size_t)x->n_in * sizeof *in);
    int read = f->source[fusion_input(f, core, 0)], chain = -1;
    bool joined = f->fusible[read] && f->group[read] == f->group[core];
    for (int m = 0; m < u->n; m++) {
        int c = f->chain[u->node[m]];
        if (c >= 0 && !(joined && c == f->chain[read])) chain = c;
    }
    operand out = at[core] = lower_scratch(l, x->dtype, &x->shape);
    bool ok = !l->error->code;
    if (ok && joined) ok = build_before(&before, u, core, at, &made_of, &in[0]);
    if (ok && chain >= 0) ok = build_after(&after, u, chain, core, at, &becomes);
    size_t outputs = after.p.out.len;
    if (ok && chain >= 0) {
        value raw = {VALUE_INPUT, becomes.raw};
        if (f->stored[core]) ok = program_output(&after.p, raw, &at[core]);
        out.after = &becomes;
    }
    mare_status status = ok ? lower_node(l, x, in, &out) : lower_error(l);
    if (!status && chain >= 0 && !becomes.done) { /* the result is in memory as it is */
        after.p.out.len = outputs;
        status = lower_program(&after.p);
    }
    building_free(&before);
    building_free(&after);
    return status;
}

/* A node by itself; in what memory its inputs have. */
static mare_status lower_alone(fusion *f, int i, operand *at) {
    const node *x = f->order[i];
    lowering *l = f->l;
    operand small[8];
    const operand *first = x->n_in ? &at[f->rep[x->in[0]->index]] : NULL;
    if (x->op->view && first->constant) {
        /* A view of a constant is the constant in another shape, unless it moves elements in ways
         * that only a copy can; all elements being equal, every view will do. */
        at[i].constant = first->constant;
        return MARE_OK;
    }
    if (x->op->view && x->op->view(x, &first->view, &at[i].view)) {
        at[i].buffer = first->buffer;
        return MARE_OK;
    }
    operand *in = inputs_of(f, i, at, small);
    if (!in) return error_no_memory(l->error, (size_t)x->n_in * sizeof *in);
    at[i] = lower_scratch(l, x->dtype, &x->shape);
    if (l->error->code) return l->error->code;
    return shape_count(&x->shape) > 0 ? lower_node(l, x, in, &at[i]) : MARE_OK;
}

/* The node of a unit that is not elementwise, or -1. */
static int core_of(const fusion *f, const unit *u) {
    for (int m = 0; m < u->n; m++)
        if (f->chain[u->node[m]] < 0) return u->node[m];
    return -1;
}

mare_status lower_unit(fusion *f, const unit *u, operand *at) {
    int i = u->node[0], core = u->n > 1 ? core_of(f, u) : -1;
    const node *x = f->l->node = f->order[i];
    bool loops = x->op->element && shape_count(&x->shape) > 0;
    if (u->n > 1 && !(f->l->label = label_of(f, u))) return lower_error(f->l);
    mare_status status = core >= 0 ? lower_joined(f, u, core, at)
                         : loops   ? lower_chain(f, u, at)
                                   : lower_alone(f, i, at);
    f->l->label = NULL;
    return status;
}
