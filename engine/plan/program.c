#include "plan/program.h"

#include <ctype.h>
#include <string.h>

void program_free(program *p) {
    vec_free(&p->in);
    vec_free(&p->body);
    vec_free(&p->out);
}

static bool no_memory(program *p, size_t bytes) {
    error_no_memory(p->l->error, bytes);
    return false;
}

mare_dtype program_dtype(const program *p, value v) {
    return v.kind == VALUE_INPUT ? p->in.data[v.i].dtype : p->body.data[v.i].dtype;
}

/* o stretched to a shape: a broadcast axis has stride 0. Axes of one element are dropped after. */
static bool stretch(program *p, operand *o, const shape *to) {
    char a[SHAPE_TEXT], b[SHAPE_TEXT];
    shape both;
    if (!shape_broadcast(&o->shape, to, &both) || !shape_equal(&both, to)) {
        error_set(p->l->error, MARE_E_SHAPE, "%s: an input %s does not stretch to %s",
                  p->l->node->op->name, shape_text(&o->shape, a), shape_text(to, b));
        return false;
    }
    view v = {.offset = o->view.offset};
    int lead = to->rank - o->shape.rank, rank = 0;
    shape s = {0};
    for (int d = 0; d < to->rank; d++) {
        if (to->dim[d] == 1) continue;
        bool own = d >= lead && o->shape.dim[d - lead] != 1;
        v.stride[rank] = own ? o->view.stride[d - lead] : 0;
        s.dim[rank++] = to->dim[d];
    }
    s.rank = rank;
    o->view = v;
    o->shape = s;
    return true;
}

static bool same_place(const operand *a, const operand *b) {
    if (a->buffer < 0 || b->buffer < 0) return a->constant == b->constant;
    return a->buffer == b->buffer && a->dtype == b->dtype && a->view.offset == b->view.offset &&
           memcmp(a->view.stride, b->view.stride, (size_t)a->shape.rank * sizeof *a->view.stride) ==
               0;
}

bool program_input(program *p, const operand *o, const shape *to, value *out) {
    operand in = *o;
    if (!stretch(p, &in, to)) return false;
    for (size_t i = 0; i < p->in.len; i++)
        if (same_place(&p->in.data[i], &in)) {
            *out = (value){VALUE_INPUT, (int)i};
            return true;
        }
    if (!vec_push(&p->in, in)) return no_memory(p, sizeof in);
    *out = (value){VALUE_INPUT, (int)p->in.len - 1};
    return true;
}

bool program_statement(program *p, const char *glsl, mare_dtype compute, mare_dtype dtype,
                       value *out) {
    statement s = {glsl, compute, dtype, false};
    if (!vec_push(&p->body, s)) return no_memory(p, sizeof s);
    *out = (value){VALUE_STATEMENT, (int)p->body.len - 1};
    return true;
}

const char *program_name(program *p, value v, mare_dtype compute) {
    bool ints = !dtype_is_float(program_dtype(p, v)), want_ints = compute == MARE_I32;
    if (v.kind == VALUE_STATEMENT) p->body.data[v.i].read = true;
    return lower_text(p->l,
                      ints == want_ints ? "%c%d"
                      : want_ints       ? "to_int(%c%d)"
                                        : "float(%c%d)",
                      v.kind == VALUE_INPUT ? 'x' : 'v', v.i);
}

bool program_output(program *p, value v, const operand *to) {
    program_out o = {v, *to};
    if (!stretch(p, &o.to, &to->shape)) return false;
    return vec_push(&p->out, o) ? true : no_memory(p, sizeof o);
}

void program_body(const program *p, text *out) {
    for (size_t i = 0; i < p->body.len; i++) {
        const statement *s = &p->body.data[i];
        const char *name = mare_dtype_name(s->dtype);
        text_add(out, "%s v%zu = value_%s(%s); ", dtype_is_float(s->dtype) ? "float" : "int", i,
                 name, s->glsl);
        if (s->read && dtype_is_float(s->dtype) && s->dtype != MARE_F32)
            text_add(out, "v%zu = ROUND_%s(v%zu); ", i, name, i);
    }
    for (size_t i = 0; i < p->out.len; i++) {
        value v = p->out.data[i].from;
        text_add(out, "y%zu = %c%d; ", i, v.kind == VALUE_INPUT ? 'x' : 'v', v.i);
    }
}

static void uses_of(const char *glsl, text *out) {
    for (const char *c = glsl; *c;) {
        size_t n = 0;
        while (isalnum((unsigned char)c[n]) || c[n] == '_')
            n++;
        if (n > 2 && c[0] == 'm' && c[1] == '_') text_add(out, "USE_%.*s 1\n", (int)n - 2, c + 2);
        c += n ? n : 1;
    }
}

void program_uses(const program *p, text *out) {
    for (size_t i = 0; i < p->body.len; i++)
        uses_of(p->body.data[i].glsl, out);
}

int program_buffers(const program *p) {
    int n = (int)p->out.len;
    for (size_t i = 0; i < p->in.len; i++)
        n += p->in.data[i].buffer >= 0;
    return n;
}

mare_status lower_map(lowering *l, const char *expr, mare_dtype compute, const operand *in,
                      int n_in, const operand *out) {
    enum { MOST = 8 };
    if (shape_count(&out->shape) == 0) return MARE_OK;
    if (n_in > MOST)
        return error_set(l->error, MARE_E_ARGUMENT, "%s: %d inputs, at most %d are possible",
                         l->node->op->name, n_in, MOST);
    program p = {.l = l};
    text body = {0};
    value v = {0};
    bool ok = true;
    /* The expression calls its inputs a, b, ...: each letter, where it stands alone, is a name. */
    const char *names[MOST] = {0};
    for (int i = 0; i < n_in && ok; i++) {
        ok = program_input(&p, &in[i], &out->shape, &v);
        if (ok) ok = (names[i] = program_name(&p, v, compute)) != NULL;
    }
    for (const char *c = expr; *c && ok;) {
        size_t n = 0;
        while (isalnum((unsigned char)c[n]) || c[n] == '_' || c[n] == '.')
            n++;
        int letter = n == 1 ? *c - 'a' : -1;
        if (letter >= 0 && letter < n_in)
            text_add(&body, "%s", names[letter]);
        else
            text_bytes(&body, c, n ? n : 1);
        c += n ? n : 1;
    }
    const char *glsl = ok ? lower_text(l, "%s", text_str(&body)) : NULL;
    ok = glsl && !body.failed && program_statement(&p, glsl, compute, out->dtype, &v) &&
         program_output(&p, v, out);
    mare_status status = ok ? lower_program(&p) : lower_error(l);
    text_free(&body);
    program_free(&p);
    return status;
}
