/* Files of tensors and pictures. */
#include "base/vec.h"
#include "io/image.h"
#include "io/npy.h"
#include "io/safetensors.h"
#include "script/data.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BUNDLE_TYPE "mare.bundle"

static int bundle_gc(lua_State *L) {
    io_bundle_free(lua_touserdata(L, 1));
    return 0;
}

/* A bundle that a Lua error gives back. */
static io_bundle *bundle_push(lua_State *L) {
    io_bundle *b = lua_newuserdatauv(L, sizeof *b, 0);
    memset(b, 0, sizeof *b);
    if (luaL_newmetatable(L, BUNDLE_TYPE)) {
        lua_pushcfunction(L, bundle_gc);
        lua_setfield(L, -2, "__gc");
    }
    lua_setmetatable(L, -2);
    return b;
}

static char *copy(lua_State *L, const char *from) {
    size_t n = strlen(from) + 1;
    char *p = malloc(n);
    if (!p) script_error(L, "the host has no memory left");
    memcpy(p, from, n);
    return p;
}

/* Text without zero bytes at i, as malloc'ed memory. */
static char *copy_text(lua_State *L, int i, const char *what) {
    if (lua_type(L, i) != LUA_TSTRING)
        script_error(L, "%s must be a string, not %s", what, arg_kind(L, i));
    size_t len;
    const char *from = lua_tolstring(L, i, &len);
    if (strlen(from) != len) script_error(L, "%s holds a zero byte", what);
    return copy(L, from);
}

static size_t entries(lua_State *L, int i) {
    size_t n = 0;
    lua_pushnil(L);
    for (; lua_next(L, i); n++)
        lua_pop(L, 1);
    return n;
}

static void add_notes(lua_State *L, int i, io_bundle *b) {
    if (lua_isnoneornil(L, i)) return;
    if (!lua_istable(L, i))
        script_error(L, "metadata must be a table of strings, not %s", arg_kind(L, i));
    b->notes = calloc(entries(L, i) + 1, sizeof *b->notes);
    if (!b->notes) script_error(L, "the host has no memory left");
    lua_pushnil(L);
    while (lua_next(L, i)) {
        io_note *note = &b->notes[b->note_count++];
        note->key = copy_text(L, -2, "a key of metadata");
        if (lua_type(L, -1) == LUA_TNUMBER) lua_tostring(L, -1); /* the value, not the key */
        note->value = copy_text(L, -1, "a value of metadata");
        lua_pop(L, 1);
    }
}

/* mare.save(path, { name = tensor }, metadata) */
static int f_save(lua_State *L) {
    script *s = script_of(L);
    const char *path = arg_string(L, 1, "the path");
    if (!lua_istable(L, 2))
        return script_error(L, "expected a table of named tensors, not %s", arg_kind(L, 2));
    arg_end(L, 4);
    lua_settop(L, 3);
    io_bundle *b = bundle_push(L);
    add_notes(L, 3, b);
    size_t n = entries(L, 2);
    b->items = calloc(n + 1, sizeof *b->items);
    mare_tensor **list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 0);
    if (!b->items) return script_error(L, "the host has no memory left");
    int count = 0;
    lua_pushnil(L);
    while (lua_next(L, 2)) {
        char what[160];
        b->items[count].name = copy_text(L, -2, "a tensor's name");
        b->count = (size_t)count + 1;
        snprintf(what, sizeof what, "'%s'", b->items[count].name);
        list[count++] = arg_tensor(L, -1, what);
        lua_pop(L, 1);
    }
    mare_context *ctx = script_context(L);
    TRY(L, mare_eval(ctx, count, list));
    for (int i = 0; i < count; i++)
        array_from_tensor(L, list[i], &b->items[i].array);
    if (safetensors_write(path, b->items, b->count, b->notes, b->note_count, &s->error))
        return script_raise_error(L);
    script_settle(L);
    return 0;
}

/* mare.load(path): { name = tensor }, metadata */
static int f_load(lua_State *L) {
    script *s = script_of(L);
    const char *path = arg_string(L, 1, "the path");
    arg_end(L, 2);
    io_bundle *b = bundle_push(L);
    if (safetensors_read(path, b, &s->error)) return script_raise_error(L);
    lua_createtable(L, 0, (int)b->count);
    for (size_t i = 0; i < b->count; i++) {
        tensor_from_array(L, &b->items[i].array);
        lua_setfield(L, -2, b->items[i].name);
        io_array_free(&b->items[i].array);
    }
    lua_createtable(L, 0, (int)b->note_count);
    for (size_t i = 0; i < b->note_count; i++) {
        lua_pushstring(L, b->notes[i].value);
        lua_setfield(L, -2, b->notes[i].key);
    }
    return 2;
}

static int f_save_npy(lua_State *L) {
    script *s = script_of(L);
    const char *path = arg_string(L, 1, "the path");
    mare_tensor *t = arg_tensor(L, 2, "argument 2");
    arg_end(L, 3);
    io_array *a = array_push(L);
    script_context(L);
    array_from_tensor(L, t, a);
    if (npy_write(path, a, &s->error)) script_raise_error(L);
    return 0;
}

static int f_load_npy(lua_State *L) {
    script *s = script_of(L);
    const char *path = arg_string(L, 1, "the path");
    arg_end(L, 2);
    io_array *a = array_push(L);
    if (npy_read(path, a, &s->error)) script_raise_error(L);
    tensor_from_array(L, a);
    return 1;
}

/* ---- Pictures ------------------------------------------------------------------------------ */

/* mare.imread(path, { channels = }): u8 [C, H, W] */
static int f_imread(lua_State *L) {
    script *s = script_of(L);
    const char *path = arg_string(L, 1, "the path");
    arg_options(L, 2, "channels");
    int64_t channels = opt_integer(L, 2, "channels", 0);
    if (channels < 0 || channels > 4)
        return script_error(L, "channels is %lld; 1 to 4 are possible", (long long)channels);
    io_array *a = array_push(L), *planes = array_push(L);
    if (image_read(path, (int)channels, a, &s->error)) return script_raise_error(L);
    int64_t h = a->shape.dim[0], w = a->shape.dim[1], c = a->shape.rank > 2 ? a->shape.dim[2] : 1;
    shape sh = {.rank = 3, .dim = {c, h, w}};
    if (io_array_new(planes, MARE_U8, &sh, &s->error)) return script_raise_error(L);
    const unsigned char *from = a->data;
    unsigned char *to = planes->data;
    for (int64_t k = 0; k < c; k++)
        for (int64_t i = 0; i < h * w; i++)
            *to++ = from[i * c + k];
    tensor_from_array(L, planes);
    return 1;
}

/* mare.imwrite(path, t): t u8, or float with values in 0..1; [H, W], [1, H, W] or [3, H, W] */
static int f_imwrite(lua_State *L) {
    script *s = script_of(L);
    const char *path = arg_string(L, 1, "the path");
    mare_tensor *t = arg_tensor(L, 2, "the picture");
    arg_end(L, 3);
    int rank = mare_tensor_rank(t);
    const int64_t *dims = mare_tensor_dims(t);
    int64_t c = rank == 3 ? dims[0] : 1;
    mare_dtype dtype = mare_tensor_dtype(t);
    if ((rank != 2 && rank != 3) || (c != 1 && c != 3))
        return script_error(L, "shape %s is none of [H, W], [1, H, W], [3, H, W]",
                            tensor_push_shape_text(L, t));
    if (dtype == MARE_I32 || dtype == MARE_I8)
        return script_error(L, "pictures are u8, or floats in 0..1, not %s",
                            mare_dtype_name(dtype));
    int64_t h = dims[rank - 2], w = dims[rank - 1], n = mare_tensor_count(t);
    io_array *a = array_push(L);
    double *values = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *values, 0);
    shape sh = {.rank = 3, .dim = {h, w, c}};
    if (io_array_new(a, MARE_U8, &sh, &s->error)) return script_raise_error(L);
    script_context(L);
    TRY(L, mare_tensor_doubles(t, values, n));
    unsigned char *to = a->data;
    double scale = dtype == MARE_U8 ? 1 : 255;
    for (int64_t i = 0; i < h * w; i++)
        for (int64_t k = 0; k < c; k++) {
            double v = values[k * h * w + i] * scale;
            if (isnan(v)) return script_error(L, "the picture holds NaN");
            *to++ = (unsigned char)(v <= 0 ? 0 : v >= 255 ? 255 : nearbyint(v));
        }
    if (image_write_png(path, a, &s->error)) script_raise_error(L);
    return 0;
}

static const luaL_Reg module[] = {
    {"save", f_save},
    {"load", f_load},
    {"save_npy", f_save_npy},
    {"load_npy", f_load_npy},
    {"imread", f_imread},
    {"imwrite", f_imwrite},
    {NULL, NULL},
};
const script_part file_part = {NULL, module, NULL};
