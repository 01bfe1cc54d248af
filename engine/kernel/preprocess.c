#include "kernel/internal.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_DEPTH = 16, MAX_NAME = 256 };

/* A file being expanded, and the one that includes it. */
typedef struct source_file {
    const char *name; /* below shaders/ */
    int line;
    const struct source_file *from;
} source_file;

typedef struct expansion {
    text *out;
    mare_error *e;
    const kernel_id *id;
} expansion;

static bool blank(char c) {
    return c == ' ' || c == '\t';
}

/* The name in a line `#include "name"`, or an empty one; false when it is one but is malformed. */
static bool include_name(const char *p, const char *end, char name[MAX_NAME]) {
    name[0] = 0;
    while (p < end && blank(*p))
        p++;
    if (p == end || *p++ != '#') return true;
    while (p < end && blank(*p))
        p++;
    if (end - p < 7 || memcmp(p, "include", 7) != 0) return true;
    p += 7;
    if (p < end && (isalnum((unsigned char)*p) || *p == '_')) return true;
    while (p < end && blank(*p))
        p++;
    if (p == end || *p++ != '"') return false;
    const char *close = memchr(p, '"', (size_t)(end - p));
    if (!close || close == p || close - p >= MAX_NAME) return false;
    memcpy(name, p, (size_t)(close - p));
    name[close - p] = 0;
    return true;
}

/* Is the end of this line inside a block comment, given whether its start is? */
static bool comment_after(const char *p, const char *end, bool inside) {
    for (; p < end; p++) {
        if (inside) {
            if (*p == '*' && p + 1 < end && p[1] == '/') inside = false, p++;
        } else if (*p == '/' && p + 1 < end) {
            if (p[1] == '/') return false;
            if (p[1] == '*') inside = true, p++;
        }
    }
    return inside;
}

/* Text of a file below shaders/: `name` beside the file that asks, or in include/. The name that
 * fits comes back in found. */
static const char *find(const char *name, const source_file *from, char found[2 * MAX_NAME],
                        size_t *len, char **owned) {
    char path[2 * MAX_NAME + 16];
    const char *slash = from ? strrchr(from->name, '/') : NULL;
    int folder = slash ? (int)(slash - from->name) + 1 : 0;
    snprintf(found, 2 * MAX_NAME, "%.*s%s", folder, from ? from->name : "", name);
    snprintf(path, sizeof path, "shaders/%s", found);
    const char *data = source_text(path, len, owned);
    if (data || !from) return data;
    snprintf(found, 2 * MAX_NAME, "include/%s", name);
    snprintf(path, sizeof path, "shaders/%s", found);
    return source_text(path, len, owned);
}

static mare_status expand(expansion *x, const char *name, const source_file *from, int depth) {
    char found[2 * MAX_NAME];
    size_t len;
    char *owned = NULL;
    const char *data;
    if (!from && x->id->text) {
        data = x->id->text;
        len = strlen(data);
        snprintf(found, sizeof found, "%s", name);
    } else {
        data = find(name, from, found, &len, &owned);
    }
    if (!data && !from) {
        const char *root = getenv("MARE_ROOT");
        return error_set(x->e, MARE_E_SHADER, "there is no shader \"%s\"%s%s", name,
                         root && *root ? " in MARE_ROOT=" : "", root ? root : "");
    }
    if (!data)
        return error_set(x->e, MARE_E_SHADER,
                         "shader %s: %s:%d: there is no file \"%s\" to include", x->id->shader,
                         from->name, from->line, name);
    mare_status status = MARE_OK;
    for (const source_file *f = from; f && !status; f = f->from)
        if (depth > MAX_DEPTH || strcmp(f->name, found) == 0)
            status = error_set(x->e, MARE_E_SHADER, "shader %s: %s:%d: \"%s\" includes itself",
                               x->id->shader, from->name, from->line, found);
    if (!status && memchr(data, 0, len))
        status =
            error_set(x->e, MARE_E_SHADER, "shader %s: %s holds a zero byte", x->id->shader, found);

    source_file self = {found, 0, from};
    bool comment = false;
    if (!status) text_add(x->out, "#line 1 \"%s\"\n", found);
    for (const char *p = data, *stop = data + len; !status && p < stop;) {
        const char *end = memchr(p, '\n', (size_t)(stop - p));
        if (!end) end = stop;
        self.line++;
        char want[MAX_NAME] = "";
        if (!comment && !include_name(p, end, want)) {
            status = error_set(x->e, MARE_E_SHADER, "shader %s: %s:%d: write #include \"name\"",
                               x->id->shader, found, self.line);
        } else if (want[0]) {
            status = expand(x, want, &self, depth + 1);
            text_add(x->out, "#line %d \"%s\"\n", self.line + 1, found);
        } else {
            text_bytes(x->out, p, (size_t)(end - p));
            text_add(x->out, "\n");
        }
        comment = comment_after(p, end, comment);
        p = end + 1;
    }
    free(owned);
    return status;
}

/* "NAME value" lines as #define lines. */
static mare_status add_defines(expansion *x, const char *defines) {
    text_add(x->out, "#line 1 \"defines\"\n");
    for (const char *p = defines; *p;) {
        const char *end = strchr(p, '\n');
        if (!end || !(isalpha((unsigned char)*p) || *p == '_') || (end > p && end[-1] == '\\'))
            return error_set(x->e, MARE_E_ARGUMENT,
                             "shader %s: defines are lines \"NAME value\", not \"%.80s\"",
                             x->id->shader, p);
        text_add(x->out, "#define ");
        text_bytes(x->out, p, (size_t)(end + 1 - p));
        p = end + 1;
    }
    return MARE_OK;
}

mare_status source_expand(const kernel_id *id, text *out, mare_error *e) {
    expansion x = {out, e, id};
    if (strlen(id->shader) >= MAX_NAME)
        return error_set(e, MARE_E_SHADER, "the shader name \"%.40s...\" is too long", id->shader);
    text_add(out, "// %s\n#version 450\n", compile_version());
    text_add(out, "#extension GL_GOOGLE_cpp_style_line_directive : require\n");
    mare_status status = add_defines(&x, id->defines);
    if (!status) status = expand(&x, id->shader, NULL, 0);
    if (!status && out->failed) status = error_no_memory(e, out->cap * 2);
    return status;
}
