#include "graph/expr.h"

#include "graph/math.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Parser ------------------------------------------------------------------------------- */

enum { MAX_DEPTH = 64 };

typedef struct binding {
    char *name;
    const expr *value;
} binding;

typedef struct parser {
    const char *text, *at;
    const char *const *names;
    int n_names;
    arena *mem;
    mare_error *error;
    mare_status status;
    int n_bound, depth, ids;
    binding bound[EXPR_MAX_NAMES];
} parser;

static const expr *compare(parser *p);

static expr *fail(parser *p, const char *what) {
    if (p->status == MARE_OK)
        p->status = error_set(p->error, MARE_E_ARGUMENT, "expression \"%s\": %s at \"%s\"", p->text,
                              what, *p->at ? p->at : "its end");
    return NULL;
}

static expr *make(parser *p, expr_kind kind) {
    expr *x = arena_alloc(p->mem, sizeof *x);
    if (!x) {
        if (p->status == MARE_OK) p->status = error_no_memory(p->error, sizeof *x);
        return NULL;
    }
    x->kind = kind;
    x->id = p->ids++;
    return x;
}

static const expr *make_call(parser *p, const char *name, int n, const expr *const *arg) {
    for (int i = 0; i < n; i++)
        if (!arg[i]) return NULL;
    expr *x = make(p, EXPR_CALL);
    if (!x) return NULL;
    x->call = name;
    x->how = math_find(name, n);
    x->n = n;
    for (int i = 0; i < n; i++)
        x->arg[i] = arg[i];
    return x;
}

static void skip_space(parser *p) {
    while (isspace((unsigned char)*p->at))
        p->at++;
}

/* Takes the operator `op` if it stands here. */
static bool take(parser *p, const char *op) {
    skip_space(p);
    size_t n = strlen(op);
    if (strncmp(p->at, op, n) != 0) return false;
    p->at += n;
    return true;
}

static bool word_char(char c) {
    return isalnum((unsigned char)c) || c == '_';
}

/* Length of the identifier that stands at s, 0 if there is none. */
static size_t word_length(const char *s) {
    size_t n = 0;
    if (isdigit((unsigned char)*s)) return 0;
    while (word_char(s[n]))
        n++;
    return n;
}

static bool same_word(const char *name, const char *word, size_t n) {
    return strlen(name) == n && memcmp(name, word, n) == 0;
}

static const expr *number(parser *p) {
    char *end;
    double v = strtod(p->at, &end);
    if (end == p->at || word_char(*end)) return fail(p, "a bad number");
    p->at = end;
    expr *x = make(p, EXPR_NUMBER);
    if (x) x->number = v;
    return x;
}

static const expr *call(parser *p, const char *word, size_t n) {
    const expr *arg[EXPR_MAX_ARGS];
    int count = 0;
    char *name = arena_alloc(p->mem, n + 1);
    if (!name) {
        p->status = error_no_memory(p->error, n + 1);
        return NULL;
    }
    memcpy(name, word, n);
    do {
        if (count == EXPR_MAX_ARGS) return fail(p, "too many arguments");
        arg[count] = compare(p);
        if (!arg[count++]) return NULL;
    } while (take(p, ","));
    if (!take(p, ")")) return fail(p, "expected , or )");
    return make_call(p, name, count, arg);
}

static const expr *named(parser *p) {
    const char *word = p->at;
    size_t n = word_length(word);
    if (!n) return fail(p, "expected a value");
    p->at += n;
    if (take(p, "(")) return call(p, word, n);
    for (int i = p->n_bound - 1; i >= 0; i--)
        if (same_word(p->bound[i].name, word, n)) return p->bound[i].value;
    for (int i = 0; i < p->n_names; i++) {
        if (!same_word(p->names[i], word, n)) continue;
        expr *x = make(p, EXPR_NAME);
        if (x) x->name = i;
        return x;
    }
    bool is_nan = same_word("nan", word, n);
    if (!is_nan && !same_word("inf", word, n)) {
        p->at = word;
        return fail(p, "an unknown name");
    }
    expr *x = make(p, EXPR_NUMBER);
    if (x) x->number = is_nan ? (double)NAN : (double)INFINITY;
    return x;
}

static const expr *primary(parser *p) {
    skip_space(p);
    if (take(p, "(")) {
        const expr *x = compare(p);
        return x && !take(p, ")") ? fail(p, "expected )") : x;
    }
    if (isdigit((unsigned char)*p->at) || *p->at == '.') return number(p);
    return named(p);
}

static const expr *unary(parser *p) {
    if (++p->depth > MAX_DEPTH) return fail(p, "nested too deeply");
    const expr *x;
    if (take(p, "-")) {
        x = unary(p);
        x = make_call(p, "neg", 1, &x);
    } else {
        x = primary(p);
    }
    p->depth--;
    return x;
}

static const expr *product(parser *p) {
    const expr *x = unary(p);
    while (x) {
        const char *name = take(p, "*") ? "mul" : take(p, "/") ? "div" : NULL;
        if (!name) break;
        const expr *arg[2] = {x, unary(p)};
        x = make_call(p, name, 2, arg);
    }
    return x;
}

static const expr *sum(parser *p) {
    const expr *x = product(p);
    while (x) {
        const char *name = take(p, "+") ? "add" : take(p, "-") ? "sub" : NULL;
        if (!name) break;
        const expr *arg[2] = {x, product(p)};
        x = make_call(p, name, 2, arg);
    }
    return x;
}

static const expr *compare(parser *p) {
    static const char *const ops[][2] = {{"<=", "le"}, {">=", "ge"}, {"==", "eq"},
                                         {"!=", "ne"}, {"<", "lt"},  {">", "gt"}};
    const expr *x = sum(p);
    for (size_t i = 0; x && i < sizeof ops / sizeof *ops; i++) {
        if (!take(p, ops[i][0])) continue;
        const expr *arg[2] = {x, sum(p)};
        return make_call(p, ops[i][1], 2, arg);
    }
    return x;
}

/* "name =" here, and no comparison? Then the name, else null with nothing taken. */
static char *binding_name(parser *p) {
    skip_space(p);
    const char *start = p->at;
    size_t n = word_length(start);
    p->at += n;
    bool found = n > 0 && take(p, "=") && *p->at != '=';
    if (!found) {
        p->at = start;
        return NULL;
    }
    char *name = arena_alloc(p->mem, n + 1);
    if (!name)
        p->status = error_no_memory(p->error, n + 1);
    else
        memcpy(name, start, n);
    return name;
}

mare_status expr_parse(const char *source, const char *const *names, int n_names, arena *mem,
                       const expr **out, mare_error *e) {
    parser p = {.text = source, .at = source, .names = names, .n_names = n_names, .mem = mem};
    p.error = e;
    *out = NULL;
    for (char *name; p.status == MARE_OK && (name = binding_name(&p)) != NULL;) {
        if (p.n_bound == EXPR_MAX_NAMES) {
            fail(&p, "too many bindings");
            break;
        }
        const expr *value = compare(&p);
        if (value && !take(&p, ";")) fail(&p, "expected ;");
        p.bound[p.n_bound++] = (binding){name, value};
    }
    const expr *x = p.status == MARE_OK ? compare(&p) : NULL;
    if (x && p.status == MARE_OK) {
        skip_space(&p);
        if (*p.at) fail(&p, "something left over");
    }
    if (p.status == MARE_OK) *out = x;
    return p.status;
}

/* ---- Reading as GLSL ---------------------------------------------------------------------- */

static void write_number(double v, mare_dtype compute, text *out) {
    if (compute == MARE_I32) {
        text_add(out, "%d", (int)v);
        return;
    }
    float f = (float)v;
    if (isnan(f) || isinf(f)) {
        text_add(out, "uintBitsToFloat(%s)", isnan(f) ? "0x7fc00000u" : "0x7f800000u");
        return;
    }
    char digits[32];
    snprintf(digits, sizeof digits, "%.9g", (double)f);
    text_add(out, "%s%s", digits, strpbrk(digits, ".e") ? "" : ".0");
}

static void write_glsl(const expr *x, mare_dtype compute, const char *const *names, text *out) {
    if (x->kind == EXPR_NUMBER) {
        write_number(x->number, compute, out);
        return;
    }
    if (x->kind == EXPR_NAME) {
        text_add(out, "%s", names[x->name]);
        return;
    }
    const char *sign = x->how->sign;
    if (sign && x->n == 1) {
        text_add(out, "(%s", sign);
    } else if (sign) {
        text_add(out, "%s(", !x->how->compares ? "" : compute == MARE_I32 ? "int" : "float");
    } else {
        text_add(out, "m_%s(", x->call);
    }
    for (int i = 0; i < x->n; i++) {
        if (i && sign) text_add(out, " %s ", sign);
        if (i && !sign) text_add(out, ", ");
        write_glsl(x->arg[i], compute, names, out);
    }
    text_add(out, ")");
}

mare_status expr_check(const expr *x, mare_dtype compute, mare_error *e) {
    if (x->kind == EXPR_NUMBER && compute == MARE_I32 &&
        !(x->number >= -2147483648.0 && x->number <= 2147483647.0 && x->number == rint(x->number)))
        return error_set(e, MARE_E_ARGUMENT, "expression: %g is no 32-bit integer", x->number);
    if (x->kind != EXPR_CALL) return MARE_OK;
    if (!x->how || !math_knows(x->how, compute))
        return error_set(e, MARE_E_ARGUMENT, "expression: no function %s of %d argument%s on %s",
                         x->call, x->n, x->n == 1 ? "" : "s",
                         compute == MARE_I32 ? "integers" : "floats");
    for (int i = 0; i < x->n; i++) {
        mare_status s = expr_check(x->arg[i], compute, e);
        if (s != MARE_OK) return s;
    }
    return MARE_OK;
}

mare_status expr_glsl(const expr *x, mare_dtype compute, const char *const *names, text *out,
                      mare_error *e) {
    mare_status s = expr_check(x, compute, e);
    if (s != MARE_OK) return s;
    write_glsl(x, compute, names, out);
    return out->failed ? error_no_memory(e, out->len) : MARE_OK;
}

/* ---- Reading as a value ------------------------------------------------------------------- */

static double float_value(const expr *x, const double *values) {
    if (x->kind == EXPR_NUMBER) return x->number;
    if (x->kind == EXPR_NAME) return values[x->name];
    double v[EXPR_MAX_ARGS] = {0};
    for (int i = 0; i < x->n; i++)
        v[i] = float_value(x->arg[i], values);
    switch (x->n) {
    case 1:
        return x->how->f1(v[0]);
    case 2:
        return x->how->f2(v[0], v[1]);
    default:
        return x->how->f3(v[0], v[1], v[2]);
    }
}

static int32_t int_value(const expr *x, const double *values) {
    if (x->kind == EXPR_NUMBER) return (int32_t)x->number;
    if (x->kind == EXPR_NAME) return (int32_t)values[x->name];
    int32_t v[EXPR_MAX_ARGS] = {0};
    for (int i = 0; i < x->n; i++)
        v[i] = int_value(x->arg[i], values);
    switch (x->n) {
    case 1:
        return x->how->i1(v[0]);
    case 2:
        return x->how->i2(v[0], v[1]);
    default:
        return x->how->i3(v[0], v[1], v[2]);
    }
}

double expr_value(const expr *x, mare_dtype compute, const double *values) {
    return compute == MARE_I32 ? (double)int_value(x, values) : float_value(x, values);
}

const char *expr_function_name(int i, int *arity, bool *on_float, bool *on_int) {
    const expr_function *f = math_function(i);
    if (!f) return NULL;
    *arity = f->arity;
    *on_float = math_knows(f, MARE_F32);
    *on_int = math_knows(f, MARE_I32);
    return f->name;
}
