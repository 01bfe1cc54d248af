/* Convolutions of one channel a group, as launches: a matrix product has one column then, so the
 * kernel walks the images themselves. */
#include "ops/conv_job.h"
#include "ops/loop.h"

/* Pixels that an invocation works on in a turn; and turns of a workgroup of a CPU, where it is one
 * vector wide and starting it costs as much as a hundred steps. */
enum { MOST_POINTS = 4, TURNS_CPU = 32 };

static void push_axes(launch *x, const int64_t *v, int64_t fourth) {
    for (int i = CONV_AXES - 1; i >= 0; i--)
        launch_i32(x, (int32_t)v[i]);
    launch_i32(x, (int32_t)fourth);
}

/* The parameter block of shaders/conv/depthwise.comp. */
static void push_params(launch *x, const conv_job *j, const uint32_t first[3], int64_t count,
                        int64_t blocks, int64_t block) {
    const conv *v = &j->v;
    const operand *images[] = {&j->x, &j->y, &j->w};
    launch_i32(x, (int32_t)count);
    launch_i32(x, (int32_t)blocks);
    launch_i32(x, (int32_t)v->o);
    launch_i32(x, (int32_t)v->groups);
    for (int i = 0; i < 3; i++)
        push_axes(x, images[i]->view.stride + SPACE, first[i]);
    const int64_t outer[] = {v->n,
                             j->x.view.stride[0],
                             j->x.view.stride[1],
                             j->y.view.stride[0],
                             j->y.view.stride[1],
                             j->w.view.stride[0],
                             block,
                             0};
    for (int i = 0; i < 8; i++)
        launch_i32(x, (int32_t)outer[i]);
    push_axes(x, v->in, 0);
    push_axes(x, v->out, 0);
    push_axes(x, v->kernel, 0);
    push_axes(x, v->stride, 0);
    push_axes(x, v->padding, 0);
    push_axes(x, v->dilation, 0);
}

mare_status conv_depthwise_lower(lowering *l, const conv_job *j) {
    static const char *const kinds[] = {
        [RESULT_Y] = "forward", [RESULT_X] = "input", [RESULT_W] = "weight"};
    const conv *v = &j->v;
    const operand *all[] = {&j->x, &j->y, &j->w};
    const operand *to = j->result == RESULT_X ? &j->x : j->result == RESULT_Y ? &j->y : &j->w;
    const int64_t *size = j->result == RESULT_X ? v->in : v->out;
    bool weight = j->result == RESULT_W;
    bool stepped = v->stride[0] != 1 || v->stride[1] != 1 || v->stride[2] != 1;
    bool volume = v->in[0] > 1 || v->out[0] > 1 || v->kernel[0] > 1 || v->padding[0] != 0;
    bool cpu = l->caps->type == DEV_CPU;
    int64_t points = size[0] * size[1] * size[2];
    uint32_t lanes = weight ? loop_group(l, v->n * points) : lower_workgroup(l), first[3];
    if (cpu && l->caps->subgroup <= lanes) lanes = l->caps->subgroup;
    int64_t line = cpu ? size[2] : points, each = (line + lanes - 1) / lanes;
    if (each > MOST_POINTS) each = MOST_POINTS;
    int64_t turns = (line + lanes * each - 1) / (lanes * each) * (cpu ? size[0] * size[1] : 1);
    int64_t block = cpu ? TURNS_CPU : 1, blocks = weight ? 1 : (turns + block - 1) / block;
    int64_t taps = v->kernel[0] * v->kernel[1] * v->kernel[2];
    int64_t count = weight                  ? v->groups * v->o * taps
                    : j->result == RESULT_Y ? v->n * v->groups * v->o
                                            : v->n * v->groups;
    launch *x = lower_launch(l, "conv/depthwise.comp",
                             lower_text(l, "KIND_%s 1\nT %s\nLANES %u\nPOINTS %d\n%s%s%s",
                                        kinds[j->result], to->dtype == MARE_I32 ? "int" : "float",
                                        lanes, (int)each, stepped ? "STEPPED 1\n" : "",
                                        volume ? "VOLUME 1\n" : "", cpu ? "LINES 1\n" : ""));
    if (!x || !x->kernel.defines) return lower_error(l);
    mare_status status = MARE_OK;
    for (int i = 0; i < 3 && !status; i++)
        status = launch_bind(l, x, all[i], all[i] == to ? WRITE : READ, &first[i]);
    if (status) return status;
    launch_spec(x, lanes);
    push_params(x, j, first, count, blocks, block);
    return launch_groups(l, x, (uint64_t)(count * blocks));
}
