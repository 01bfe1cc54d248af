#define _POSIX_C_SOURCE 200809L
/* Profiles: what ran is in them, under its operation and line, and the times fit each other. */
#include "base/file.h"

#include <cjson/cJSON.h>
#include <criterion/criterion.h>
#include <mare/mare.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static mare_context *ctx;

#define OK(call) cr_assert_eq((call), MARE_OK, #call ": %s", mare_last_error(ctx))
#define REFUSED(part, call)                                                                        \
    do {                                                                                           \
        cr_expect_eq((call), MARE_E_ARGUMENT, #call);                                              \
        cr_expect_not_null(strstr(mare_last_error(ctx), part), "%s", mare_last_error(ctx));        \
    } while (0)

static void open_passes(const char *caps, const char *passes) {
    char why[512];
    setenv("MARE_PASSES", passes, 1);
    mare_options o = {.caps = caps, .error = why, .error_size = sizeof why};
    cr_assert_eq(mare_context_create(&o, &ctx), MARE_OK, "%s", why);
}

/* Without passes: an operation is a launch. */
static void open_with(const char *caps) {
    open_passes(caps, "none");
}

static void close_context(void) {
    mare_stats s;
    mare_get_stats(ctx, &s);
    cr_expect_leq(s.validation, 0, "the validation layer spoke");
    mare_context_destroy(ctx);
}

TestSuite(profile, .timeout = 300);

/* sum(exp(x * x)) of 8 x 16 sixteenths, a line for each operation. */
static double small_net(int first_line) {
    float data[128];
    for (int i = 0; i < 128; i++)
        data[i] = (float)(i % 16) / 16;
    mare_tensor *x, *y, *z, *s;
    double value;
    mare_set_location(ctx, "net.lua", first_line);
    OK(mare_tensor_from(ctx, MARE_F32, 2, (int64_t[]){8, 16}, data, &x));
    mare_set_location(ctx, "net.lua", first_line + 1);
    OK(mare_map("mul", 2, (mare_tensor *[]){x, x}, &y));
    mare_set_location(ctx, "net.lua", first_line + 2);
    OK(mare_map("exp", 1, &y, &z));
    mare_set_location(ctx, "net.lua", first_line + 3);
    OK(mare_reduce("sum", z, 0, NULL, false, 0, &s));
    OK(mare_tensor_item(s, &value));
    mare_tensor *all[] = {x, y, z, s};
    for (int i = 0; i < 4; i++)
        mare_tensor_release(all[i]);
    return value;
}

/* The site of an operation on a line; fails when there is none, or several. */
static size_t find_site(const mare_profile *f, const char *op, int line) {
    size_t found = f->sites;
    for (size_t i = 0; i < f->sites; i++) {
        mare_profile_site s;
        cr_assert(mare_profile_site_at(ctx, i, &s));
        if (strcmp(s.op, op) != 0 || s.line != line) continue;
        cr_expect_eq(found, f->sites, "%s on line %d twice", op, line);
        found = i;
    }
    cr_assert_lt(found, f->sites, "no %s on line %d", op, line);
    return found;
}

/* Launches do not overlap, spans lie in one another or apart, and sums are sums. */
static void expect_consistent(const mare_profile *f) {
    double busy = 0, copying = 0, end = 0, wall = 0;
    uint64_t counted = 0;
    for (size_t i = 0; i < f->launches; i++) {
        mare_profile_launch l;
        mare_profile_site s;
        cr_assert(mare_profile_launch_at(ctx, i, &l) && mare_profile_site_at(ctx, l.site, &s));
        cr_expect_leq(end, l.start);
        cr_expect_leq(l.start, l.end);
        end = l.end;
        *(strcmp(s.op, "copy") ? &busy : &copying) += l.end - l.start;
    }
    cr_expect_leq(end, f->wall);
    for (size_t i = 0; i < f->sites; i++) {
        mare_profile_site s;
        cr_assert(mare_profile_site_at(ctx, i, &s));
        cr_expect_gt(s.launches, 0);
        counted += s.launches;
    }
    cr_expect_eq(counted, f->launches);
    double tiny = 1e-9 * (double)(f->launches + f->spans + 1); /* rounding, not time */
    cr_expect_float_eq(f->busy, busy, tiny);
    cr_expect_float_eq(f->copying, copying, tiny);
    cr_expect_leq(busy + copying, f->wall + tiny);
    double idle = 0;
    for (int w = 0; w < MARE_WORKS; w++) {
        wall += f->host[w];
        idle += f->idle[w];
        cr_expect_geq(f->idle[w], -tiny, "%s", mare_work_name((mare_work)w));
        cr_expect_leq(f->idle[w], f->host[w] + tiny, "%s", mare_work_name((mare_work)w));
    }
    cr_expect_float_eq(wall, f->wall, tiny);
    cr_expect_float_eq(idle, f->wall - busy - copying, tiny);
    double ends[64];
    int depth = 0;
    for (size_t i = 0; i < f->spans; i++) {
        mare_profile_span s;
        cr_assert(mare_profile_span_at(ctx, i, &s));
        while (depth && ends[depth - 1] <= s.start)
            depth--;
        cr_assert(!depth || s.end <= ends[depth - 1], "span %zu crosses another one", i);
        cr_expect(s.start <= s.end && s.end <= f->wall);
        cr_assert_lt(depth, 64);
        ends[depth++] = s.end;
    }
}

static void expect_small_net(const char *caps) {
    open_with(caps);
    mare_device_info device;
    OK(mare_context_device(ctx, &device));
    bool timestamps = strstr(device.features, "timestamps") != NULL;
    cr_expect(!caps || !timestamps);
    double plain = small_net(10);
    mare_profile f;
    OK(mare_profile_start(ctx));
    for (int i = 0; i < 3; i++)
        cr_expect_eq(small_net(10), plain, "profiling changes nothing");
    OK(mare_profile_stop(ctx, &f));
    cr_expect_eq(f.timestamps, timestamps);
    cr_expect_eq(f.evals, 3);
    cr_expect_eq(f.hits, 3);
    cr_expect_eq(f.plans + f.pipelines, 0, "what was there before is no part of it");
    cr_expect_eq(f.submits, timestamps ? 3 : f.launches);
    static const struct {
        const char *op;
        int line, rank;
        double bytes;
    } want[] = {{"mul", 11, 2, 2 * 512}, {"exp", 12, 2, 2 * 512}, {"sum", 13, 0, 512 + 16}};
    size_t launches = 0;
    for (int i = 0; i < 3; i++) {
        mare_profile_site s;
        cr_assert(mare_profile_site_at(ctx, find_site(&f, want[i].op, want[i].line), &s));
        cr_expect_str_eq(s.file, "net.lua");
        cr_expect_eq(s.launches, 3, "%s: %llu", s.op, (unsigned long long)s.launches);
        cr_expect_eq(s.rank, want[i].rank);
        cr_expect_eq(s.dtype, MARE_F32);
        cr_expect(i == 2 || (s.dims[0] == 8 && s.dims[1] == 16));
        cr_expect_float_eq(s.bytes, want[i].bytes, 0.5, "%s: %g bytes", s.op, s.bytes);
        cr_expect_gt(s.groups[0], 0);
        cr_expect_not_null(strstr(s.kernel, ".comp"));
        launches += s.launches;
    }
    cr_expect_eq(launches, f.launches);
    expect_consistent(&f);
    close_context();
}

Test(profile, by_timestamps) {
    expect_small_net(NULL);
}

Test(profile, by_the_hosts_clock) {
    expect_small_net("-timestamps");
}

/* What belongs to one evaluation says so, in the order of its steps. */
Test(profile, evaluations_are_told_apart) {
    open_with(NULL);
    mare_profile f;
    OK(mare_profile_start(ctx));
    small_net(10);
    small_net(10);
    OK(mare_profile_stop(ctx, &f));
    static const char *const order[] = {"mul", "exp", "sum"};
    cr_assert_eq(f.launches, 6);
    for (size_t i = 0; i < 6; i++) {
        mare_profile_launch l;
        mare_profile_site s;
        cr_assert(mare_profile_launch_at(ctx, i, &l) && mare_profile_site_at(ctx, l.site, &s));
        cr_expect_eq(l.eval, i / 3);
        cr_expect_str_eq(s.op, order[i % 3]);
    }
    close_context();
}

/* One plan, run from two places of the script: each is told by its own lines. */
Test(profile, lines_that_share_a_plan_are_told_apart) {
    open_with(NULL);
    mare_profile f;
    OK(mare_profile_start(ctx));
    small_net(10);
    small_net(20);
    small_net(20);
    OK(mare_profile_stop(ctx, &f));
    cr_expect_eq(f.plans, 1);
    mare_profile_site s;
    cr_assert(mare_profile_site_at(ctx, find_site(&f, "exp", 12), &s));
    cr_expect_eq(s.launches, 1);
    cr_assert(mare_profile_site_at(ctx, find_site(&f, "exp", 22), &s));
    cr_expect_eq(s.launches, 2);
    expect_consistent(&f);
    close_context();
}

/* Operations that became one launch are told by all their names, on the last one's line. */
Test(profile, fused_operations_are_named) {
    open_passes(NULL, "none,fuse");
    mare_profile f;
    OK(mare_profile_start(ctx));
    small_net(10);
    OK(mare_profile_stop(ctx, &f));
    cr_expect_eq(f.launches, 2);
    find_site(&f, "mul+exp", 12);
    find_site(&f, "sum", 13);
    close_context();
}

Test(profile, the_hosts_work_is_told) {
    open_with(NULL);
    mare_profile f;
    OK(mare_profile_start(ctx));
    small_net(10);
    OK(mare_profile_stop(ctx, &f));
    int times[MARE_WORKS] = {0};
    for (size_t i = 0; i < f.spans; i++) {
        mare_profile_span s;
        cr_assert(mare_profile_span_at(ctx, i, &s));
        times[s.work]++;
        cr_expect_eq(s.about != NULL, s.work == MARE_WORK_COMPILE);
    }
    cr_expect_eq(times[MARE_WORK_RECORD], 1);
    cr_expect_eq(times[MARE_WORK_PLAN], 1);
    cr_expect_eq(times[MARE_WORK_COMPILE], 3, "one for each launch");
    cr_expect_eq(times[MARE_WORK_SUBMIT], f.submits);
    cr_expect_eq(times[MARE_WORK_COPY], 2, "the data, and the result");
    cr_expect_geq(times[MARE_WORK_WAIT], 1);
    cr_expect_eq(times[MARE_WORK_SCRIPT], 0);
    cr_expect_eq(f.plans, 1);
    cr_expect_eq(f.pipelines, 3);
    close_context();
}

Test(profile, starts_anew_and_refuses) {
    open_with(NULL);
    mare_profile f;
    REFUSED("not on", mare_profile_stop(ctx, &f));
    cr_expect_eq(f.launches, 0);
    REFUSED("no profile", mare_profile_trace(ctx, "/tmp/mare-none.json"));
    OK(mare_profile_start(ctx));
    small_net(10);
    REFUSED("on already", mare_profile_start(ctx));
    REFUSED("still on", mare_profile_trace(ctx, "/tmp/mare-none.json"));
    double bandwidth, flops;
    REFUSED("a profile is on", mare_device_peaks(ctx, &bandwidth, &flops));
    mare_profile_launch l;
    cr_expect_not(mare_profile_launch_at(ctx, 0, &l), "not before the stop");
    OK(mare_profile_stop(ctx, NULL));
    cr_expect(mare_profile_launch_at(ctx, 2, &l));
    cr_expect_not(mare_profile_launch_at(ctx, 3, &l));
    OK(mare_profile_start(ctx));
    OK(mare_profile_stop(ctx, &f));
    cr_expect_eq(f.launches + f.sites, 0);
    expect_consistent(&f);
    cr_expect_eq(mare_profile_start(NULL), MARE_E_ARGUMENT);
    cr_expect_eq(mare_profile_stop(NULL, NULL), MARE_E_ARGUMENT);
    close_context();
}

/* An evaluation fails at its second launch, whose shader is not there: the first one was recorded
 * and never sent, or, without timestamps, ran by itself. */
Test(profile, what_never_ran_is_left_out) {
    char folder[] = "/tmp/mare-profile-XXXXXX", command[1024];
    cr_assert(mkdtemp(folder));
    snprintf(command, sizeof command,
             "mkdir %s/shaders && cp -r '%s/shaders/elementwise' '%s/shaders/include' %s/shaders",
             folder, TEST_ROOT, TEST_ROOT, folder);
    cr_assert_eq(system(command), 0);
    open_with(NULL);
    mare_tensor *x, *y, *s;
    mare_profile f;
    OK(mare_full(ctx, MARE_F32, 2, (int64_t[]){2, 3}, 1, &x));
    OK(mare_eval(ctx, 1, &x));
    OK(mare_profile_start(ctx));
    OK(mare_map("exp", 1, &x, &y));
    OK(mare_reduce("sum", y, 0, NULL, false, 0, &s));
    setenv("MARE_ROOT", folder, 1);
    cr_expect_eq(mare_eval(ctx, 1, &s), MARE_E_SHADER);
    unsetenv("MARE_ROOT");
    small_net(10);
    OK(mare_profile_stop(ctx, &f));
    cr_expect_eq(f.launches, f.timestamps ? 3 : 4);
    cr_expect_eq(f.sites, f.launches);
    expect_consistent(&f);
    mare_tensor *all[] = {x, y, s};
    for (int i = 0; i < 3; i++)
        mare_tensor_release(all[i]);
    close_context();
    snprintf(command, sizeof command, "rm -r %s", folder);
    cr_assert_eq(system(command), 0);
}

Test(profile, peaks_are_measured_once) {
    open_with(NULL);
    double bandwidth, flops, again[2];
    OK(mare_device_peaks(ctx, &bandwidth, &flops));
    mare_memory m;
    mare_memory_stats(ctx, &m);
    cr_expect_eq(m.used, 0);
    cr_expect_lt(m.cached, 64 << 20, "%llu bytes are kept", (unsigned long long)m.cached);
    cr_expect(bandwidth > 0 && flops > 0 && isfinite(bandwidth) && isfinite(flops));
    mare_stats before, after;
    mare_get_stats(ctx, &before);
    OK(mare_device_peaks(ctx, &again[0], &again[1]));
    mare_get_stats(ctx, &after);
    cr_expect(again[0] == bandwidth && again[1] == flops && before.pipelines == after.pipelines);
    close_context();
}

/* ---- Trace files --------------------------------------------------------------------------- */

static const cJSON *field(const cJSON *object, const char *name) {
    const cJSON *v = cJSON_GetObjectItemCaseSensitive(object, name);
    cr_assert_not_null(v, "no \"%s\"", name);
    return v;
}

static double nanoseconds(const cJSON *event, const char *name) {
    const cJSON *v = field(event, name);
    cr_assert(cJSON_IsNumber(v) && v->valuedouble >= 0);
    return round(v->valuedouble * 1e3);
}

static bool is(const cJSON *event, const char *name, const char *value) {
    return strcmp(field(event, name)->valuestring, value) == 0;
}

/* Slices of one track: the device's follow each other, the host's may lie in one another. */
static void check_track(const cJSON *events, int track, double wall) {
    const cJSON *e;
    double ends[64];
    int depth = 0;
    cJSON_ArrayForEach(e, events) {
        if (!is(e, "ph", "X") || field(e, "tid")->valueint != track) continue;
        double start = nanoseconds(e, "ts"), end = start + nanoseconds(e, "dur");
        while (depth && ends[depth - 1] <= start)
            depth--;
        cr_expect(!depth || (track == 2 && end <= ends[depth - 1]), "slices overlap");
        cr_expect_leq(end, round(wall * 1e9));
        cr_assert_lt(depth, 64);
        ends[depth++] = end;
    }
}

static void check_launch(const cJSON *e, const char *op, int line) {
    char where[32];
    snprintf(where, sizeof where, "net \"a\".lua:%d", line);
    const cJSON *args = field(e, "args");
    cr_expect_str_eq(field(e, "name")->valuestring, op);
    cr_expect(is(e, "cat", "launch") && field(e, "pid")->valueint == 1);
    cr_expect_str_eq(field(args, "line")->valuestring, where);
    cr_expect_str_eq(field(args, "shape")->valuestring, "[2, 3]");
    cr_expect_str_eq(field(args, "dtype")->valuestring, "f32");
    cr_expect_str_eq(field(args, "groups")->valuestring, "1,1,1");
    cr_expect_str_eq(field(args, "kernel")->valuestring, "elementwise/map.comp");
    cr_expect_gt(field(args, "bytes")->valuedouble, 0);
    cr_expect_eq(field(args, "evaluation")->valueint, 0);
}

Test(profile, trace_files) {
    open_with(NULL);
    mare_profile f;
    mare_tensor *x, *y, *z;
    OK(mare_profile_start(ctx));
    OK(mare_full(ctx, MARE_F32, 2, (int64_t[]){2, 3}, 1, &x));
    OK(mare_eval(ctx, 1, &x));
    OK(mare_profile_stop(ctx, NULL));
    OK(mare_profile_start(ctx));
    mare_set_location(ctx, "net \"a\".lua", 1);
    OK(mare_map("exp", 1, &x, &y));
    mare_set_location(ctx, "net \"a\".lua", 2);
    OK(mare_map("sin", 1, &y, &z));
    OK(mare_eval(ctx, 1, &z));
    OK(mare_profile_stop(ctx, &f));
    char path[] = "/tmp/mare-trace-XXXXXX";
    int fd = mkstemp(path);
    cr_assert_geq(fd, 0);
    close(fd);
    OK(mare_profile_trace(ctx, path));
    void *data;
    size_t len;
    cr_assert_eq(file_read(path, 0, &data, &len, NULL), MARE_OK);
    unlink(path);
    cJSON *root = cJSON_ParseWithLength(data, len);
    cr_assert_not_null(root, "%s", (char *)data);
    const cJSON *events = field(root, "traceEvents"), *e;
    int launches = 0, evaluations = 0, names = 0;
    cJSON_ArrayForEach(e, events) {
        if (is(e, "ph", "M")) {
            names++;
        } else if (field(e, "tid")->valueint == 1) {
            check_launch(e, launches ? "sin" : "exp", launches + 1);
            launches++;
        } else {
            evaluations += is(e, "name", "evaluation");
        }
    }
    cr_expect_eq(launches, 2);
    cr_expect_eq(evaluations, 1);
    cr_expect_eq(names, 3);
    check_track(events, 1, f.wall);
    check_track(events, 2, f.wall);
    cJSON_Delete(root);
    free(data);
    cr_expect_eq(mare_profile_trace(ctx, "/nonexistent/folder/trace.json"), MARE_E_IO);
    mare_tensor *all[] = {x, y, z};
    for (int i = 0; i < 3; i++)
        mare_tensor_release(all[i]);
    close_context();
}
