/* Nested tables of numbers to packed elements and back. */
#include "graph/graph.h"
#include "script/lib.h"

#include <math.h>
#include <string.h>

typedef struct nest {
    lua_State *L;
    bool any; /* no element type asked for: numbers become f32, booleans bool */
    mare_dtype dtype;
    int rank;
    int64_t dims[MARE_MAX_DIMS], at[MARE_MAX_DIMS];
    double *out;
} nest;

/* "[2][3]", where the walk is. */
static const char *path(nest *n, int depth) {
    luaL_Buffer b;
    luaL_buffinit(n->L, &b);
    for (int i = 0; i < depth; i++) {
        char number[32];
        snprintf(number, sizeof number, "[%lld]", (long long)n->at[i] + 1);
        luaL_addstring(&b, number);
    }
    luaL_pushresult(&b);
    return depth ? lua_tostring(n->L, -1) : "the value";
}

/* Follows the first entries down, for rank and shape. */
static void measure(nest *n, int i) {
    lua_State *L = n->L;
    lua_pushvalue(L, i);
    while (lua_istable(L, -1)) {
        if (n->rank == MARE_MAX_DIMS)
            script_error(L, "tables nested more than %d deep", MARE_MAX_DIMS);
        lua_Integer len = luaL_len(L, -1);
        n->at[n->rank] = 0;
        n->dims[n->rank++] = len;
        if (len == 0) break;
        lua_geti(L, -1, 1);
        lua_remove(L, -2);
    }
    if (n->any && lua_isboolean(L, -1)) n->dtype = MARE_BOOL;
    lua_pop(L, 1);
}

static double element(nest *n, int depth) {
    lua_State *L = n->L;
    double v;
    if (lua_type(L, -1) == LUA_TNUMBER && !(n->any && n->dtype == MARE_BOOL))
        v = lua_tonumber(L, -1);
    else if (lua_isboolean(L, -1) && !(n->any && n->dtype != MARE_BOOL))
        v = lua_toboolean(L, -1);
    else if (lua_istable(L, -1))
        return script_error(L, "%s is a table; the first entry at this depth is a number",
                            path(n, depth));
    else
        return script_error(L, "%s is %s; expected %s", path(n, depth), arg_kind(L, -1),
                            n->any && n->dtype == MARE_BOOL ? "a boolean, as the first is"
                                                            : "a number");
    if (!value_fits(n->dtype, v)) arg_fits(L, n->dtype, v, path(n, depth));
    return n->dtype == MARE_BOOL ? v != 0 : v;
}

/* Fills from the value on the top of the stack. */
static void fill(nest *n, int depth) {
    lua_State *L = n->L;
    if (depth == n->rank) {
        *n->out++ = element(n, depth);
        return;
    }
    if (!lua_istable(L, -1))
        script_error(L, "%s is %s; the first entry at this depth is a table", path(n, depth),
                     arg_kind(L, -1));
    lua_Integer len = luaL_len(L, -1);
    if (len != n->dims[depth])
        script_error(L, "%s has %lld entries; the first table at this depth has %lld",
                     path(n, depth), (long long)len, (long long)n->dims[depth]);
    for (lua_Integer i = 0; i < len; i++) {
        n->at[depth] = i;
        lua_geti(L, -1, i + 1);
        fill(n, depth + 1);
        lua_pop(L, 1);
    }
}

void *table_pack(lua_State *L, int i, bool has_dtype, mare_dtype *dtype, int *rank,
                 int64_t dims[MARE_MAX_DIMS]) {
    nest n = {.L = L, .any = !has_dtype, .dtype = has_dtype ? *dtype : MARE_F32};
    measure(&n, i);
    size_t count = 1;
    for (int k = 0; k < n.rank; k++) {
        if (n.dims[k] && count > (size_t)INT32_MAX / (size_t)n.dims[k])
            script_error(L, "more than %d elements", INT32_MAX);
        count *= (size_t)n.dims[k];
    }
    double *values = lua_newuserdatauv(L, (count + 1) * sizeof *values, 0);
    n.out = values;
    lua_pushvalue(L, i);
    fill(&n, 0);
    lua_pop(L, 1);
    void *data = lua_newuserdatauv(L, (count + 1) * sizeof(float), 0);
    dtype_pack(n.dtype, values, data, (int64_t)count);
    *dtype = n.dtype;
    *rank = n.rank;
    memcpy(dims, n.dims, sizeof n.dims);
    return data;
}

void table_push(lua_State *L, mare_dtype dtype, int rank, const int64_t *dims, const double *data) {
    if (rank == 0) {
        value_push(L, dtype, *data);
        return;
    }
    int64_t inner = 1;
    for (int i = 1; i < rank; i++)
        inner *= dims[i];
    luaL_checkstack(L, 4, "too many dimensions");
    lua_createtable(L, (int)dims[0], 0);
    for (int64_t i = 0; i < dims[0]; i++) {
        table_push(L, dtype, rank - 1, dims + 1, data + i * inner);
        lua_rawseti(L, -2, i + 1);
    }
}

int script_totable(lua_State *L) {
    mare_tensor *t = arg_tensor(L, 1, "the tensor");
    arg_end(L, 2);
    int64_t count = mare_tensor_count(t);
    double *values = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *values, 0);
    script_context(L);
    TRY(L, mare_tensor_doubles(t, values, count));
    table_push(L, mare_tensor_dtype(t), mare_tensor_rank(t), mare_tensor_dims(t), values);
    script_settle(L);
    return 1;
}
