/* What a first program on libmare does: compute something, get its gradient, see an error. */
#include <mare/mare.h>
#include <stdio.h>
#include <string.h>

const char *version_from_cpp(void);

static mare_context *ctx;

static int fail(const char *call) {
    fprintf(stderr, "%s: %s\n", call, ctx ? mare_last_error(ctx) : "no context");
    return 1;
}

int main(void) {
    char error[512] = "";
    mare_options options = {.error = error, .error_size = sizeof error};
    if (mare_context_create(&options, &ctx)) {
        fprintf(stderr, "%s\n", error);
        return 1;
    }
    const float data[6] = {1, 2, 3, 4, 5, 6};
    mare_tensor *x, *y, *sum, *gradient, *none;
    if (mare_tensor_from(ctx, MARE_F32, 2, (int64_t[]){2, 3}, data, &x)) return fail("from");
    if (mare_set_requires_grad(x, true)) return fail("requires_grad");
    if (mare_map("mul", 2, (mare_tensor *[]){x, x}, &y)) return fail("mul");
    if (mare_reduce("sum", y, 0, NULL, false, 0, &sum)) return fail("sum");
    double value, slope[6];
    if (mare_tensor_item(sum, &value)) return fail("item");
    if (mare_backward(sum, NULL, false) || mare_grad(x, &gradient)) return fail("backward");
    if (mare_tensor_doubles(gradient, slope, 6)) return fail("doubles");
    int wrong = value != 91;
    for (int i = 0; i < 6; i++)
        wrong += slope[i] != 2 * data[i];
    wrong += mare_reshape(x, 1, (int64_t[]){7}, &none) != MARE_E_SHAPE;
    wrong += strstr(mare_last_error(ctx), "7") == NULL;
    wrong += strcmp(version_from_cpp(), mare_version()) != 0;
    mare_tensor_release(gradient);
    mare_tensor_release(sum);
    mare_tensor_release(y);
    mare_tensor_release(x);
    mare_context_destroy(ctx);
    printf("mare %s: %d wrong\n", mare_version(), wrong);
    return wrong != 0;
}
