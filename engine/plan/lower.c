#include "plan/lower.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { ALIGN = 256 }; /* of bindings: the most that Vulkan lets a device ask for */

mare_status lower_error(lowering *l) {
    return l->error->code ? l->error->code : error_no_memory(l->error, 0);
}

launch *lower_launch(lowering *l, const char *shader, const char *defines) {
    launch *x = arena_alloc(l->mem, sizeof *x);
    if (!x || !vec_push(&l->launches, x)) {
        error_no_memory(l->error, sizeof *x);
        return NULL;
    }
    x->origin = l->node;
    x->label = l->label;
    x->kernel.shader = shader;
    x->kernel.defines = defines;
    x->groups[0] = x->groups[1] = x->groups[2] = 1;
    return x;
}

const char *lower_text(lowering *l, const char *fmt, ...) {
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(NULL, 0, fmt, args);
    va_end(args);
    char *p = n < 0 ? NULL : arena_alloc(l->mem, (size_t)n + 1);
    if (!p) {
        error_no_memory(l->error, 0);
        return NULL;
    }
    va_start(args, fmt);
    vsnprintf(p, (size_t)n + 1, fmt, args);
    va_end(args);
    return p;
}

void launch_spec(launch *x, uint32_t value) {
    x->kernel.spec[x->kernel.n_spec++] = value;
}

void launch_u32(launch *x, uint32_t value) {
    x->params[x->n_params++].value = value;
}

void launch_i32(launch *x, int32_t value) {
    launch_u32(x, (uint32_t)value);
}

void launch_f32(launch *x, float value) {
    launch_u32(x, dtype_word(MARE_F32, value));
}

void launch_dyn(launch *x, const node *n, int dyn) {
    x->params[x->n_params++] = (param){n->dyn[dyn], n, dyn};
}

/* Multiplier and shift with which (umulhi(n, multiplier) + n) >> shift is n / d for n < 2^31
 * (Granlund and Montgomery, "Division by invariant integers using multiplication", 1994). */
void launch_divisor(launch *x, uint32_t d) {
    uint32_t s = 0;
    while (s < 32 && (uint64_t)1 << s < d)
        s++;
    launch_u32(x, (uint32_t)((((uint64_t)1 << 32) * (((uint64_t)1 << s) - d)) / d + 1));
    launch_u32(x, s);
}

mare_status launch_bind(lowering *l, launch *x, const operand *o, access a, uint32_t *first) {
    char text[SHAPE_TEXT];
    int64_t size = (int64_t)mare_dtype_size(o->dtype), lo = o->view.offset, hi = lo + 1;
    if (shape_count(&o->shape) == 0)
        lo = hi = 0;
    else
        for (int i = 0; i < o->shape.rank; i++) {
            int64_t reach = (o->shape.dim[i] - 1) * o->view.stride[i];
            if (reach < 0)
                lo += reach;
            else
                hi += reach;
        }
    int64_t start = lo * size / ALIGN * ALIGN;
    uint64_t bytes = ((uint64_t)(hi * size - start) + 15) / 16 * 16;
    if (!bytes) bytes = 16;
    if (bytes > l->caps->binding)
        return error_set(l->error, MARE_E_UNSUPPORTED,
                         "%s: a %s tensor %s takes %llu bytes in one binding; this device binds at "
                         "most %llu: work on smaller parts",
                         l->node->op->name, mare_dtype_name(o->dtype), shape_text(&o->shape, text),
                         (unsigned long long)bytes, (unsigned long long)l->caps->binding);
    if (x->n_bindings == MAX_BINDINGS || (uint32_t)x->n_bindings >= l->caps->storage_buffers)
        return error_set(l->error, MARE_E_UNSUPPORTED,
                         "%s: a kernel binds more than the %u storage buffers that this device "
                         "allows a stage",
                         l->node->op->name, l->caps->storage_buffers);
    x->bindings[x->n_bindings++] = (binding){o->buffer, a, (uint64_t)start, bytes};
    x->kernel.buffers = x->n_bindings;
    *first = (uint32_t)(o->view.offset - start / size);
    return MARE_OK;
}

mare_status launch_groups(lowering *l, launch *x, uint64_t groups) {
    uint64_t rows = (groups + l->caps->groups[0] - 1) / l->caps->groups[0];
    if (rows > l->caps->groups[1])
        return error_set(l->error, MARE_E_UNSUPPORTED,
                         "%s: %llu workgroups are more than this device starts at once",
                         l->node->op->name, (unsigned long long)groups);
    if (!rows) rows = 1;
    x->groups[0] = (uint32_t)((groups + rows - 1) / rows);
    if (!x->groups[0]) x->groups[0] = 1;
    x->groups[1] = (uint32_t)rows;
    return MARE_OK;
}

uint32_t lower_workgroup(const lowering *l) {
    uint32_t n = l->caps->workgroup < l->caps->workgroup_size[0] ? l->caps->workgroup
                                                                 : l->caps->workgroup_size[0];
    return n < 256 ? n : 256;
}

operand lower_scratch(lowering *l, mare_dtype t, const shape *s) {
    operand o = {.buffer = (int)l->buffers.len, .dtype = t, .shape = *s};
    shape_strides(s, o.view.stride);
    /* On failure the buffer number is one that no plan has; finishing the plan reports it. */
    if (!vec_push(&l->buffers, (uint64_t)shape_count(s) * mare_dtype_size(t)))
        error_no_memory(l->error, sizeof(uint64_t));
    return o;
}

bool operand_contiguous(const operand *o) {
    return o->buffer >= 0 && view_contiguous(&o->shape, &o->view) &&
           o->view.offset * (int64_t)mare_dtype_size(o->dtype) % ALIGN == 0;
}

mare_status lower_contiguous(lowering *l, const operand *o, operand *out) {
    if (operand_contiguous(o)) {
        *out = *o;
        return MARE_OK;
    }
    operand copy = lower_scratch(l, o->dtype, &o->shape);
    mare_status status =
        lower_map(l, "a", dtype_is_float(o->dtype) ? MARE_F32 : MARE_I32, o, 1, &copy);
    *out = copy;
    return status;
}
