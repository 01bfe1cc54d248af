/* The format is Google's "Trace Event Format": an object with a list of events, of which `X` has a
 * start and a duration, and `M` names a track. */
#include "io/trace.h"

#include "base/file.h"
#include "base/text.h"

#include <cjson/cJSON.h>
#include <math.h>
#include <stdio.h>

enum { PROCESS = 1, DEVICE_TRACK = 1, HOST_TRACK = 2 };

typedef struct writer {
    text out;
    bool any; /* an event was written */
} writer;

/* Takes the event over. An event is written as it is made: a whole tree of them would take many
 * times the file's size. */
static void write_event(writer *w, cJSON *event) {
    char *line = cJSON_PrintUnformatted(event);
    if (!line) w->out.failed = true;
    if (line) text_add(&w->out, "%s%s", w->any ? ",\n" : "", line);
    w->any = true;
    cJSON_free(line);
    cJSON_Delete(event);
}

static cJSON *new_event(const char *name, const char *phase, int track) {
    cJSON *event = cJSON_CreateObject();
    cJSON_AddStringToObject(event, "name", name);
    cJSON_AddStringToObject(event, "ph", phase);
    cJSON_AddNumberToObject(event, "pid", PROCESS);
    cJSON_AddNumberToObject(event, "tid", track);
    return event;
}

static void write_name(writer *w, const char *what, int track, const char *name) {
    cJSON *event = new_event(what, "M", track);
    cJSON_AddStringToObject(cJSON_AddObjectToObject(event, "args"), "name", name);
    write_event(w, event);
}

/* Start and end are rounded to nanoseconds, so that what followed another does so in the file. */
static cJSON *new_slice(const char *name, const char *category, int track, double start,
                        double end) {
    double from = round(start * 1e9), to = round(end * 1e9);
    cJSON *event = new_event(name, "X", track);
    cJSON_AddStringToObject(event, "cat", category);
    cJSON_AddNumberToObject(event, "ts", from / 1e3);
    cJSON_AddNumberToObject(event, "dur", (to - from) / 1e3);
    return event;
}

static void add_site(cJSON *args, const profile_site *site) {
    char dims[SHAPE_TEXT], groups[64];
    snprintf(groups, sizeof groups, "%u,%u,%u", site->groups[0], site->groups[1], site->groups[2]);
    cJSON_AddStringToObject(args, "shape", shape_text(&site->shape, dims));
    cJSON_AddStringToObject(args, "dtype", mare_dtype_name(site->dtype));
    cJSON_AddStringToObject(args, "kernel", site->kernel);
    cJSON_AddStringToObject(args, "groups", groups);
    cJSON_AddNumberToObject(args, "bytes", site->bytes);
    if (site->flops > 0) cJSON_AddNumberToObject(args, "flops", site->flops);
    if (!site->file) return;
    text line = {0};
    text_add(&line, "%s:%d", site->file, site->line);
    cJSON_AddStringToObject(args, "line", text_str(&line));
    text_free(&line);
}

static void write_launch(writer *w, const profile *f, const profile_launch *l) {
    const profile_site *site = &f->sites.data[f->used.data[l->site]];
    bool copy = profile_is_copy(site);
    cJSON *event = new_slice(site->op, copy ? "copy" : "launch", DEVICE_TRACK, l->start, l->end);
    cJSON *args = cJSON_AddObjectToObject(event, "args");
    if (!copy) {
        add_site(args, site);
        cJSON_AddNumberToObject(args, "evaluation", l->eval);
    }
    write_event(w, event);
}

static void write_span(writer *w, const profile_span *s) {
    static const char *const names[MARE_WORKS] = {
        [MARE_WORK_RECORD] = "evaluation", [MARE_WORK_PLAN] = "plan",
        [MARE_WORK_COMPILE] = "compile",   [MARE_WORK_SUBMIT] = "submit",
        [MARE_WORK_COPY] = "copy",         [MARE_WORK_WAIT] = "wait"};
    cJSON *event = new_slice(names[s->work], "host", HOST_TRACK, s->start, s->end);
    cJSON *args = cJSON_AddObjectToObject(event, "args");
    if (s->about) cJSON_AddStringToObject(args, "kernel", s->about);
    if (s->work == MARE_WORK_RECORD) cJSON_AddNumberToObject(args, "evaluation", s->eval);
    write_event(w, event);
}

mare_status trace_write(const char *path, const profile *f, const char *device, mare_error *e) {
    writer w = {0};
    text_add(&w.out, "{\"displayTimeUnit\": \"ms\", \"traceEvents\": [\n");
    write_name(&w, "process_name", DEVICE_TRACK, "mare");
    write_name(&w, "thread_name", DEVICE_TRACK, device);
    write_name(&w, "thread_name", HOST_TRACK, "host");
    for (size_t i = 0; i < f->launches.len; i++)
        write_launch(&w, f, &f->launches.data[i]);
    for (size_t i = 0; i < f->spans.len; i++)
        write_span(&w, &f->spans.data[i]);
    text_add(&w.out, "\n]}\n");
    mare_status status =
        w.out.failed ? error_no_memory(e, w.out.len) : file_write(path, w.out.data, w.out.len, e);
    text_free(&w.out);
    return status;
}
