#include "ops/user_kernel.h"

#include "base/text.h"
#include "ops/internal.h"
#include "plan/lower.h"

#include <ctype.h>
#include <string.h>

/* A node has one value, so several results lie one behind the other in it, each from a multiple of
 * SECTION elements on: where a binding may start on any device. */
enum { SECTION = 64, TENSOR_WORDS = 2 + MAX_DIMS };

typedef struct kernel_attr {
    uint64_t threads;
    shape out[MARE_KERNEL_OUTPUTS];
} kernel_attr;

static const user_kernel *kernel_of(const node *n) {
    return (const user_kernel *)(const void *)n->op;
}

static int64_t section(const shape *s) {
    int64_t count = shape_count(s);
    return ((count ? count : 1) + SECTION - 1) / SECTION * SECTION;
}

/* ---- The shader's text -------------------------------------------------------------------- */

static bool is_name(const char *s) {
    if (!s || !(isalpha((unsigned char)*s) || *s == '_')) return false;
    for (; *s; s++)
        if (!isalnum((unsigned char)*s) && *s != '_') return false;
    return true;
}

/* A tensor's elements and its shape: x[i], x_size, x_rank, x_dim(d). */
static void write_tensor(text *t, const user_tensor *x, int place, int word, bool written) {
    text_add(t, "layout(std430, binding = %d) %sbuffer Buffer_%s { %s %s[]; };\n", place,
             written ? "" : "readonly ", x->name, x->dtype == MARE_I32 ? "int" : "float", x->name);
    text_add(t, "#define %s_size mare_word(%d)\n#define %s_rank mare_word(%d)\n", x->name, word,
             x->name, word + 1);
    text_add(t, "#define %s_dim(d) mare_word(%d + (d))\n", x->name, word + 2);
}

static void write_shader(text *t, const user_kernel *k) {
    int words = 1 + (k->n_in + k->n_out) * TENSOR_WORDS + k->n_numbers, word = 1, place = 1;
    text_add(t, "#include \"mare.glsl\"\n");
    text_add(t, "layout(std140, binding = 0) uniform Params { uvec4 mare_words[%d]; };\n",
             (words + 3) / 4);
    text_add(t, "uint mare_word(uint i) { return mare_words[i / 4u][i %% 4u]; }\n");
    text_add(t, "uint mare_word(int i) { return mare_word(uint(i)); }\n");
    text_add(t, "#define count mare_word(0)\n");
    for (int i = 0; i < k->n_in; i++, word += TENSOR_WORDS)
        write_tensor(t, &k->in[i], place++, word, false);
    for (int i = 0; i < k->n_out; i++, word += TENSOR_WORDS)
        write_tensor(t, &k->out[i], place++, word, true);
    for (int i = 0; i < k->n_numbers; i++, word++)
        text_add(t, "#define %s uintBitsToFloat(mare_word(%d))\n", k->numbers[i], word);
    bool whole = strstr(k->glsl, "void main(") != NULL;
    if (!whole) text_add(t, "void main() {\nuint i = global_index();\nif (i >= count) return;\n");
    text_add(t, "#line 1 \"%s\"\n%s\n%s", k->op.name, k->glsl, whole ? "" : "}\n");
}

/* ---- The op ------------------------------------------------------------------------------- */

static bool kernel_infer(graph *g, node *n) {
    (void)g;
    const user_kernel *k = kernel_of(n);
    const kernel_attr *at = OP_ATTR(kernel_attr, n);
    n->dtype = k->out[0].dtype;
    n->shape = at->out[0];
    if (k->n_out == 1) return true;
    n->shape = (shape){.rank = 1};
    for (int i = 0; i < k->n_out; i++)
        n->shape.dim[0] += section(&at->out[i]);
    return true;
}

static void tensor_words(launch *x, const shape *s) {
    launch_u32(x, (uint32_t)shape_count(s));
    launch_u32(x, (uint32_t)s->rank);
    for (int d = 0; d < MAX_DIMS; d++)
        launch_u32(x, d < s->rank ? (uint32_t)s->dim[d] : 1);
}

/* The i-th result as an operand within the node's. */
static operand result_operand(const kernel_attr *at, const operand *all, int i) {
    operand o = *all;
    for (int k = 0; k < i; k++)
        o.view.offset += section(&at->out[k]);
    o.shape = at->out[i];
    shape_strides(&o.shape, o.view.stride);
    return o;
}

static mare_status kernel_lower(lowering *l, const node *n, const operand *in, const operand *out) {
    const user_kernel *k = kernel_of(n);
    const kernel_attr *at = OP_ATTR(kernel_attr, n);
    operand tensors[MARE_KERNEL_INPUTS];
    uint32_t size = k->workgroup ? k->workgroup : lower_workgroup(l), first;
    mare_status status = MARE_OK;
    for (int i = 0; i < k->n_in && !status; i++)
        status = lower_contiguous(l, &in[i], &tensors[i]);
    launch *x = status ? NULL : lower_launch(l, k->op.name, "");
    if (!x) return lower_error(l);
    x->kernel.text = k->text;
    launch_spec(x, size);
    launch_u32(x, (uint32_t)at->threads);
    for (int i = 0; i < k->n_in && !status; i++) {
        status = launch_bind(l, x, &tensors[i], READ, &first); /* at 0: a binding may start there */
        tensor_words(x, &tensors[i].shape);
    }
    for (int i = 0; i < k->n_out && !status; i++) {
        operand result = result_operand(at, out, i);
        status = launch_bind(l, x, &result, READ_WRITE, &first);
        tensor_words(x, &result.shape);
    }
    for (int i = 0; i < k->n_numbers; i++)
        launch_dyn(x, n->in[k->n_in + i], 0);
    while (x->n_params % 4)
        launch_u32(x, 0);
    if (status) return status;
    return launch_groups(l, x, (at->threads + size - 1) / size);
}

bool user_kernel_id(graph *g, const user_kernel *k, const dev_caps *caps, kernel_id *out) {
    lowering l = {.caps = caps};
    uint32_t most =
        caps->workgroup < caps->workgroup_size[0] ? caps->workgroup : caps->workgroup_size[0];
    *out = (kernel_id){.shader = k->op.name,
                       .defines = "",
                       .text = k->text,
                       .buffers = k->n_in + k->n_out,
                       .n_spec = 1,
                       .spec = {k->workgroup ? k->workgroup : lower_workgroup(&l)}};
    if (out->spec[0] > most)
        return graph_fail(g, MARE_E_UNSUPPORTED,
                          "kernel %s: a workgroup of %u invocations; this device has %u at most",
                          k->op.name, out->spec[0], most) != NULL;
    if ((uint32_t)out->buffers > caps->storage_buffers)
        return graph_fail(g, MARE_E_UNSUPPORTED,
                          "kernel %s: %d inputs and outputs; this device binds %u at most",
                          k->op.name, out->buffers, caps->storage_buffers) != NULL;
    return true;
}

/* ---- Definitions -------------------------------------------------------------------------- */

/* Names that a shader would know otherwise, or twice. */
static bool check_names(graph *g, const user_kernel *k) {
    const char *names[MARE_KERNEL_INPUTS + MARE_KERNEL_OUTPUTS + MARE_KERNEL_NUMBERS];
    int n = 0;
    for (int i = 0; i < k->n_in; i++)
        names[n++] = k->in[i].name;
    for (int i = 0; i < k->n_out; i++)
        names[n++] = k->out[i].name;
    for (int i = 0; i < k->n_numbers; i++)
        names[n++] = k->numbers[i];
    for (int i = 0; i < n; i++) {
        static const char *const taken[] = {"i", "count", "main", "Params"};
        bool bad = !is_name(names[i]) || strncmp(names[i], "gl_", 3) == 0 ||
                   strncmp(names[i], "mare_", 5) == 0 || strstr(names[i], "__");
        for (size_t j = 0; j < sizeof taken / sizeof *taken; j++)
            bad = bad || strcmp(names[i], taken[j]) == 0;
        if (bad)
            return graph_fail(g, MARE_E_ARGUMENT, "kernel %s: \"%s\" cannot be a name in it",
                              k->op.name, names[i] ? names[i] : "") != NULL;
        for (int j = 0; j < i; j++)
            if (strcmp(names[i], names[j]) == 0)
                return graph_fail(g, MARE_E_ARGUMENT, "kernel %s: the name \"%s\" is given twice",
                                  k->op.name, names[i]) != NULL;
    }
    return true;
}

static bool check_definition(graph *g, const user_kernel *k) {
    if (!is_name(k->op.name))
        return graph_fail(g, MARE_E_ARGUMENT, "kernel: \"%s\" is no name for a kernel",
                          k->op.name ? k->op.name : "") != NULL;
    if (!k->glsl)
        return graph_fail(g, MARE_E_ARGUMENT, "kernel %s: there is no GLSL", k->op.name) != NULL;
    if (k->n_in < 0 || k->n_in > MARE_KERNEL_INPUTS || k->n_out < 1 ||
        k->n_out > MARE_KERNEL_OUTPUTS || k->n_numbers < 0 || k->n_numbers > MARE_KERNEL_NUMBERS)
        return graph_fail(g, MARE_E_ARGUMENT,
                          "kernel %s: %d inputs, %d outputs and %d numbers; there can be %d, 1 to "
                          "%d, and %d",
                          k->op.name, k->n_in, k->n_out, k->n_numbers, MARE_KERNEL_INPUTS,
                          MARE_KERNEL_OUTPUTS, MARE_KERNEL_NUMBERS) != NULL;
    for (int i = 0; i < k->n_in + k->n_out; i++) {
        const user_tensor *t = i < k->n_in ? &k->in[i] : &k->out[i - k->n_in];
        if (t->dtype != MARE_F32 && t->dtype != MARE_I32)
            return graph_fail(g, MARE_E_DTYPE, "kernel %s: %s is %s; kernels see f32 and i32",
                              k->op.name, t->name, mare_dtype_name(t->dtype)) != NULL;
    }
    for (int i = 1; i < k->n_out; i++)
        if (k->out[i].dtype != k->out[0].dtype)
            return graph_fail(g, MARE_E_DTYPE,
                              "kernel %s: %s is %s and %s %s; outputs share a "
                              "dtype",
                              k->op.name, k->out[0].name, mare_dtype_name(k->out[0].dtype),
                              k->out[i].name, mare_dtype_name(k->out[i].dtype)) != NULL;
    return check_names(g, k);
}

static bool copy_strings(user_kernel *k) {
    text t = {0};
    bool ok = (k->op.name = arena_string(&k->mem, k->op.name)) != NULL;
    for (int i = 0; i < k->n_in && ok; i++)
        ok = (k->in[i].name = arena_string(&k->mem, k->in[i].name)) != NULL;
    for (int i = 0; i < k->n_out && ok; i++)
        ok = (k->out[i].name = arena_string(&k->mem, k->out[i].name)) != NULL;
    for (int i = 0; i < k->n_numbers && ok; i++)
        ok = (k->numbers[i] = arena_string(&k->mem, k->numbers[i])) != NULL;
    ok = ok && (k->glsl = arena_string(&k->mem, k->glsl)) != NULL;
    if (ok) write_shader(&t, k);
    ok = ok && !t.failed && (k->text = arena_string(&k->mem, text_str(&t))) != NULL;
    text_free(&t);
    return ok;
}

user_kernel *user_kernel_new(graph *g, const user_kernel *given) {
    if (!check_definition(g, given)) return NULL;
    user_kernel *k = malloc(sizeof *k);
    if (!k) {
        error_no_memory(g->error, sizeof *k);
        return NULL;
    }
    *k = *given;
    k->mem = (arena){0};
    k->op = (op){.name = given->op.name,
                 .at = OP_HERE,
                 .dtypes = OWN_DTYPES,
                 .doc = "A kernel that the program brought along.",
                 .attr_size = sizeof(kernel_attr),
                 .infer = kernel_infer,
                 .lower = kernel_lower};
    if (copy_strings(k)) return k;
    error_no_memory(g->error, strlen(given->glsl));
    user_kernel_free(k);
    return NULL;
}

void user_kernel_free(user_kernel *k) {
    if (!k) return;
    arena_free(&k->mem);
    free(k);
}

static bool same_tensors(const user_tensor *a, const user_tensor *b, int n) {
    for (int i = 0; i < n; i++)
        if (strcmp(a[i].name, b[i].name) != 0 || a[i].dtype != b[i].dtype) return false;
    return true;
}

bool user_kernel_same(const user_kernel *a, const user_kernel *given) {
    if (strcmp(a->op.name, given->op.name) != 0 || strcmp(a->glsl, given->glsl) != 0 ||
        a->n_in != given->n_in || a->n_out != given->n_out || a->n_numbers != given->n_numbers ||
        a->workgroup != given->workgroup)
        return false;
    for (int i = 0; i < a->n_numbers; i++)
        if (strcmp(a->numbers[i], given->numbers[i]) != 0) return false;
    return same_tensors(a->in, given->in, a->n_in) && same_tensors(a->out, given->out, a->n_out);
}

/* ---- Use ---------------------------------------------------------------------------------- */

/* The inputs as the kernel sees them, then the numbers. */
static bool gather_inputs(graph *g, const user_kernel *k, node *const *in, const double *numbers,
                          node **all) {
    for (int i = 0; i < k->n_in; i++) {
        bool floats = k->in[i].dtype == MARE_F32;
        if (!in[i]) return false;
        if (dtype_is_float(in[i]->dtype) != floats)
            return graph_fail(g, MARE_E_DTYPE, "%s: %s is %s, where %s are expected", k->op.name,
                              k->in[i].name, mare_dtype_name(in[i]->dtype),
                              floats ? "floats" : "integers") != NULL;
        if (!(all[i] = op_words(g, in[i]))) return false;
    }
    for (int i = 0; i < k->n_numbers; i++)
        if (!(all[k->n_in + i] = node_const(g, MARE_F32, numbers[i]))) return false;
    return true;
}

bool op_user_kernel(graph *g, const user_kernel *k, node *const *in, const double *numbers,
                    const shape *shapes, uint64_t threads, node **out) {
    node *all[MARE_KERNEL_INPUTS + MARE_KERNEL_NUMBERS];
    kernel_attr at;
    memset(&at, 0, sizeof at);
    at.threads = threads ? threads : (uint64_t)shape_count(&shapes[0]);
    if (at.threads > UINT32_MAX)
        return graph_fail(g, MARE_E_ARGUMENT, "%s: %llu invocations are too many", k->op.name,
                          (unsigned long long)at.threads) != NULL;
    for (int i = 0; i < k->n_out; i++) {
        at.out[i].rank = shapes[i].rank;
        memcpy(at.out[i].dim, shapes[i].dim, (size_t)shapes[i].rank * sizeof shapes[i].dim[0]);
    }
    if (!gather_inputs(g, k, in, numbers, all)) return false;
    node *n = node_new(g, &k->op, all, k->n_in + k->n_numbers, &at);
    if (!n || k->n_out == 1) return (out[0] = n) != NULL;
    int64_t start = 0;
    for (int i = 0; i < k->n_out; i++) {
        int64_t length = shape_count(&at.out[i]);
        out[i] = op_reshape(g, op_narrow(g, n, 0, start, length), &at.out[i]);
        if (!out[i]) return false;
        start += section(&at.out[i]);
    }
    return true;
}
