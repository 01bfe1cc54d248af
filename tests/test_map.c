/* The elementwise kernel: dtypes at their limits, strides, splits over the device's limits. */
#include "op_check.h"
#include "ops/ops.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static checker c;

static void open_with(const char *caps) {
    cr_assert(checker_open(&c, caps), "%s", c.error.text);
    graph_scope_begin(&c.g);
}

static void close_all(void) {
    graph_scope_end(&c.g);
    checker_close(&c);
}

static node *leaf(mare_dtype t, shape s, const double *v) {
    node *n = checker_leaf(&c, t, &s, v);
    cr_assert(n, "%s", c.error.text);
    return n;
}

static void expect(node *y, const double *want, int n) {
    cr_assert(y, "%s", c.error.text);
    double *got = checker_read(&c, y);
    cr_assert(got, "%s", c.error.text);
    for (int i = 0; i < n; i++)
        cr_expect(got[i] == want[i] || (isnan(got[i]) && isnan(want[i])),
                  "element %d is %.9g, not %.9g", i, got[i], want[i]);
}

Test(map, casts_at_the_limits) {
    open_with(NULL);
    const double v[] = {NAN,  INFINITY, -INFINITY, 3e9,   -3e9,  0.99,  -0.99,
                        -1.5, 255.9,    256,       65504, 65519, 65520, -0.0};
    enum { N = sizeof v / sizeof *v };
    const double ints[N] = {0,  2147483647, -2147483648.0, 2147483647, -2147483648.0, 0,     0,
                            -1, 255,        256,           65504,      65519,         65520, 0};
    const double chars[N] = {0, 127, -128, 127, -128, 0, 0, -1, 127, 127, 127, 127, 127, 0};
    const double bytes[N] = {0, 255, 0, 255, 0, 0, 0, 0, 255, 255, 255, 255, 255, 0};
    const double bools[N] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0};
    double in[N];
    for (int i = 0; i < N; i++)
        in[i] = (float)v[i];
    shape s = shape_of(1, N);
    node *x = leaf(MARE_F32, s, in);
    expect(op_cast(&c.g, x, MARE_U8), bytes, N);
    expect(op_cast(&c.g, x, MARE_I8), chars, N);
    expect(op_cast(&c.g, x, MARE_BOOL), bools, N);
    double whole[N];
    for (int i = 0; i < N; i++)
        whole[i] = i == 11 ? 65519 : ints[i];
    expect(op_cast(&c.g, x, MARE_I32), whole, N);
    /* Halves: nearest, ties to even, overflow to infinity, numbers below the normal ones. */
    const double h[] = {65504, 65519, 65520,        1e6,          2049,         2051,   -70000,
                        NAN,   -0.0,  5.9604645e-8, 2.9802322e-8, 2.9802326e-8, 6.1e-5, 1e-9};
    const double half[] = {65504, 65504, INFINITY,     INFINITY, 2048,         2052,   -INFINITY,
                           NAN,   -0.0,  5.9604645e-8, 0,        5.9604645e-8, 6.1e-5, 0};
    double near[14];
    for (int i = 0; i < 14; i++)
        near[i] = (float)h[i];
    s.dim[0] = 14;
    double *got = checker_read(&c, op_cast(&c.g, leaf(MARE_F32, s, near), MARE_F16));
    cr_assert(got, "%s", c.error.text);
    for (int i = 0; i < 14; i++)
        cr_expect(isnan(half[i])   ? isnan(got[i])
                  : isinf(half[i]) ? got[i] == half[i]
                                   : fabs(got[i] - half[i]) <= 3e-8,
                  "half %d is %.9g, not %.9g", i, got[i], half[i]);
    /* bf16: the upper half of an f32, nearest, ties to even. */
    const double b[] = {1.00390625, 1.01171875, 1.003907, -257,  3.4e38,   3.3961e38,
                        NAN,        INFINITY,   -0.0,     65279, 0x1p-126, -1e30};
    const double bfloat[] = {1,   1.015625, 1.0078125, -256,  INFINITY, 0x1.FEp127,
                             NAN, INFINITY, -0.0,      65280, 0x1p-126, -0x1.94p99};
    double from[12];
    for (int i = 0; i < 12; i++)
        from[i] = (float)b[i];
    s.dim[0] = 12;
    expect(op_cast(&c.g, leaf(MARE_F32, s, from), MARE_BF16), bfloat, 12);
    expect(op_cast(&c.g, leaf(MARE_BF16, s, bfloat), MARE_F32), bfloat, 12);
    uint16_t packed[12];
    double back[12];
    dtype_pack(MARE_BF16, from, packed, 12);
    dtype_unpack(MARE_BF16, packed, back, 12);
    for (int i = 0; i < 12; i++)
        cr_expect(back[i] == bfloat[i] || (isnan(back[i]) && isnan(bfloat[i])),
                  "on the host, bfloat %d is %.9g", i, back[i]);
    close_all();
}

/* Promotion: PyTorch's rules for the dtypes there are. */
Test(map, promotion) {
    static const mare_dtype order[] = {MARE_BOOL, MARE_U8,   MARE_I8, MARE_I32,
                                       MARE_F16,  MARE_BF16, MARE_F32};
    static const char *const table[MARE_DTYPES] = {
        "bool u8 i8 i32 f16 bf16 f32", "u8 u8 i32 i32 f16 bf16 f32",
        "i8 i32 i8 i32 f16 bf16 f32",  "i32 i32 i32 i32 f16 bf16 f32",
        "f16 f16 f16 f16 f16 f32 f32", "bf16 bf16 bf16 bf16 f32 bf16 f32",
        "f32 f32 f32 f32 f32 f32 f32",
    };
    for (int i = 0; i < MARE_DTYPES; i++) {
        char row[64] = "";
        for (int k = 0; k < MARE_DTYPES; k++) {
            strcat(row, k ? " " : "");
            strcat(row, mare_dtype_name(dtype_promote(order[i], order[k])));
        }
        cr_expect_str_eq(row, table[i]);
    }
}

Test(map, integers_wrap_and_constants_bend) {
    open_with(NULL);
    const double a[] = {200, 7, 0}, b[] = {100, 8, 1}, sum[] = {44, 15, 1},
                 less[] = {100, 255, 255};
    shape s = shape_of(1, 3);
    node *x = leaf(MARE_U8, s, a), *y = leaf(MARE_U8, s, b);
    expect(op_map2(&c.g, "add", x, y), sum, 3);
    expect(op_map2(&c.g, "sub", x, y), less, 3);
    cr_expect_eq(op_map_scalar(&c.g, "add", x, 5)->dtype, MARE_U8);
    cr_expect_eq(op_map_scalar(&c.g, "add", x, -5)->dtype, MARE_I32);
    cr_expect_eq(op_map_scalar(&c.g, "add", x, 0.5)->dtype, MARE_F32);
    cr_expect_eq(op_map_scalar(&c.g, "mul", op_cast(&c.g, x, MARE_F16), 2)->dtype, MARE_F16);
    const double turned[] = {55, 248, 255};
    expect(op_map1(&c.g, "bitnot", x), turned, 3);
    const double most[] = {127, -128, -1}, ones[] = {1, -1, 1}, over[] = {-128, 127, 0};
    node *i = leaf(MARE_I8, s, most);
    expect(op_map2(&c.g, "add", i, leaf(MARE_I8, s, ones)), over, 3);
    cr_expect_eq(op_map_scalar(&c.g, "add", i, -128)->dtype, MARE_I8);
    cr_expect_eq(op_map_scalar(&c.g, "add", i, 128)->dtype, MARE_I32);
    cr_expect_eq(op_map2(&c.g, "add", i, x)->dtype, MARE_I32);
    cr_expect_null(op_map2(&c.g, "bitand", x, op_cast(&c.g, x, MARE_F32)));
    cr_expect_eq(c.error.code, MARE_E_DTYPE);
    shape other = shape_of(1, 4);
    const double four[4] = {0};
    cr_expect_null(op_map2(&c.g, "add", x, leaf(MARE_U8, other, four)));
    cr_expect_eq(c.error.code, MARE_E_SHAPE);
    cr_expect(strstr(c.error.text, "[3]") && strstr(c.error.text, "[4]"));
    cr_expect_null(op_map1(&c.g, "nonsense", x));
    cr_expect_null(op_map1(&c.g, "add", x));
    close_all();
}

Test(map, nan_stays_where_it_is_taken) {
    open_with(NULL);
    const double cond[] = {1, 0, 1}, a[] = {1, NAN, 3}, grad[] = {1, 0, 1};
    shape s = shape_of(1, 3);
    node *x = leaf(MARE_F32, s, a), *gx;
    x->requires_grad = true;
    node *y = op_map3(&c.g, "where", leaf(MARE_BOOL, s, cond), x, node_const(&c.g, MARE_F32, 0));
    node *total = op_sum(&c.g, y, 0, false);
    cr_assert_eq(graph_grad(&c.g, total, NULL, &x, 1, &gx), MARE_OK, "%s", c.error.text);
    expect(gx, grad, 3);
    close_all();
}

/* A device that binds little and starts few groups: the work is split, the values are the same. */
Test(map, splits) {
    open_with("binding=65536,groups=16");
    enum { ROWS = 300, COLUMNS = 401 };
    static double a[ROWS * COLUMNS], b[COLUMNS], want[ROWS * COLUMNS];
    for (int i = 0; i < ROWS * COLUMNS; i++)
        a[i] = i % 255;
    for (int i = 0; i < COLUMNS; i++)
        b[i] = i;
    for (int i = 0; i < ROWS * COLUMNS; i++)
        want[i] = a[i] + b[i % COLUMNS];
    shape s = shape_of(2, ROWS, COLUMNS), r = shape_of(1, COLUMNS);
    node *row = leaf(MARE_F32, r, b);
    expect(op_map2(&c.g, "add", leaf(MARE_F32, s, a), row), want, ROWS * COLUMNS);
    expect(op_map2(&c.g, "add", leaf(MARE_U8, s, a), row), want, ROWS * COLUMNS);
    for (int i = 0; i < ROWS * COLUMNS; i++)
        want[i] = a[(ROWS - 1 - i / COLUMNS) * COLUMNS + i % COLUMNS];
    node *back = op_flip(&c.g, leaf(MARE_F32, s, a), 1);
    expect(op_cast(&c.g, back, MARE_I32), want, ROWS * COLUMNS);
    expect(op_cast(&c.g, back, MARE_U8), want, ROWS * COLUMNS);
    /* Rows of the result are columns of the input: neither axis can be cut. Refused, by name. */
    double value;
    node *turned = op_transpose(&c.g, leaf(MARE_F32, s, a), 0, 1);
    node *bad = op_map1(&c.g, "exp", turned);
    node *sum = op_sum(&c.g, bad, 0, false);
    mare_status status = plan_read(c.planner, sum, &value, 4);
    cr_expect(status == MARE_OK || (status == MARE_E_UNSUPPORTED && strstr(c.error.text, "65536")),
              "%s", c.error.text);
    close_all();
}

Test(map, large_sums_are_accurate_and_split) {
    open_with("binding=65536");
    enum { N = 300001 };
    static double a[N];
    double sum = 0;
    for (int i = 0; i < N; i++) {
        a[i] = (float)(1 + 0.001 * (i % 97));
        sum += a[i];
    }
    shape s = shape_of(1, N);
    double *got = checker_read(&c, op_sum(&c.g, leaf(MARE_F32, s, a), 0, false));
    cr_assert(got, "%s", c.error.text);
    cr_expect(fabs(*got - sum) <= 1e-7 * sum, "%.9g, not %.9g", *got, sum);
    close_all();
}
