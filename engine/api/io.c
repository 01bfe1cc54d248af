/* Files of named tensors. */
#include "api/api.h"
#include "io/safetensors.h"

#include <stdlib.h>
#include <string.h>

struct mare_bundle {
    io_bundle file; /* names and notes; the arrays are let go once they are on the device */
    mare_tensor **tensors;
};

mare_status mare_save(mare_context *ctx, const char *path, int n, const char *const *names,
                      mare_tensor *const *tensors, int n_notes, const char *const *keys,
                      const char *const *values) {
    if (!ctx) return MARE_E_ARGUMENT;
    ctx->error = (mare_error){0};
    if (!path || n < 0 || n_notes < 0 || (n && (!names || !tensors)) ||
        (n_notes && (!keys || !values)))
        return error_set(&ctx->error, MARE_E_ARGUMENT, "save: an argument is null");
    mare_status status = mare_eval(ctx, n, tensors);
    io_named *items = calloc((size_t)n + 1, sizeof *items);
    io_note *notes = calloc((size_t)n_notes + 1, sizeof *notes);
    if (!status && (!items || !notes)) status = error_no_memory(&ctx->error, (size_t)n);
    for (int i = 0; i < n && !status; i++) {
        items[i].name = (char *)(uintptr_t)names[i]; /* only read */
        status = io_array_new(&items[i].array, tensors[i]->node->dtype, &tensors[i]->node->shape,
                              &ctx->error);
        if (!status)
            status =
                mare_tensor_read(tensors[i], items[i].array.data, io_array_bytes(&items[i].array));
    }
    for (int i = 0; i < n_notes && !status; i++)
        notes[i] = (io_note){(char *)(uintptr_t)keys[i], (char *)(uintptr_t)values[i]};
    if (!status)
        status = safetensors_write(path, items, (size_t)n, notes, (size_t)n_notes, &ctx->error);
    for (int i = 0; items && i < n; i++)
        io_array_free(&items[i].array);
    free(items);
    free(notes);
    return status;
}

mare_status mare_load(mare_context *ctx, const char *path, mare_bundle **out) {
    if (!ctx) return MARE_E_ARGUMENT;
    ctx->error = (mare_error){0};
    if (!path || !out) return error_set(&ctx->error, MARE_E_ARGUMENT, "load: an argument is null");
    *out = NULL;
    mare_bundle *b = calloc(1, sizeof *b);
    if (!b) return error_no_memory(&ctx->error, sizeof *b);
    mare_status status = safetensors_read(path, &b->file, &ctx->error);
    if (!status) {
        b->tensors = calloc(b->file.count + 1, sizeof *b->tensors);
        if (!b->tensors) status = error_no_memory(&ctx->error, b->file.count * sizeof *b->tensors);
    }
    for (size_t i = 0; !status && i < b->file.count; i++) {
        io_array *a = &b->file.items[i].array;
        status =
            mare_tensor_from(ctx, a->dtype, a->shape.rank, a->shape.dim, a->data, &b->tensors[i]);
        io_array_free(a);
    }
    if (status) {
        mare_bundle_free(b);
        return status;
    }
    *out = b;
    return MARE_OK;
}

int mare_bundle_count(const mare_bundle *b) {
    return (int)b->file.count;
}

const char *mare_bundle_name(const mare_bundle *b, int i) {
    return i < 0 || i >= mare_bundle_count(b) ? NULL : b->file.items[i].name;
}

mare_tensor *mare_bundle_tensor(const mare_bundle *b, int i) {
    return i < 0 || i >= mare_bundle_count(b) ? NULL : b->tensors[i];
}

mare_tensor *mare_bundle_find(const mare_bundle *b, const char *name) {
    for (int i = 0; i < mare_bundle_count(b); i++)
        if (strcmp(b->file.items[i].name, name) == 0) return b->tensors[i];
    return NULL;
}

const char *mare_bundle_note(const mare_bundle *b, const char *key) {
    return io_bundle_note(&b->file, key);
}

void mare_bundle_free(mare_bundle *b) {
    if (!b) return;
    for (size_t i = 0; b->tensors && i < b->file.count; i++)
        mare_tensor_release(b->tensors[i]);
    free(b->tensors);
    io_bundle_free(&b->file);
    free(b);
}
