#define _POSIX_C_SOURCE 200809L
#include "base/file.h"
#include "base/thread.h"
#include "kernel/kernel.h"
#include "spirv_check.h"
#include "tree.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

TestSuite(kernel, .init = tree_open, .fini = tree_close, .timeout = 120);

static const char head[] = "layout(local_size_x_id = 0) in;\n"
                           "layout(std430, set = 0, binding = 1) buffer Out { float y[]; };\n";
static const char good[] = "#include \"head.glsl\"\n"
                           "void main() { y[gl_GlobalInvocationID.x] = VALUE; }\n";

static kernel_id good_id(const char *defines) {
    return (kernel_id){"t/good.comp", defines, 1, 1, {32}, NULL};
}

static void write_good(void) {
    tree_shader("include/head.glsl", head);
    tree_shader("t/good.comp", good);
}

/* ---- Texts -------------------------------------------------------------------------------- */

Test(kernel, embedded_texts_are_the_files) {
    unsetenv("MARE_ROOT");
    int n = 0;
    for (const char *name, *last = ""; (name = source_name(n)); last = name, n++) {
        char path[1024], *owned;
        size_t len, size;
        void *file;
        cr_expect(strcmp(last, name) < 0, "%s comes after %s", name, last);
        snprintf(path, sizeof path, "%s/%s", TEST_ROOT, name);
        const char *text = source_text(name, &len, &owned);
        cr_assert(text && !owned && text[len] == 0, "%s", name);
        cr_assert(file_read(path, 0, &file, &size, NULL) == MARE_OK);
        cr_expect(size == len && memcmp(file, text, len) == 0, "%s differs", name);
        free(file);
    }
    cr_expect(n > 0 && source_name(n) == NULL && source_name(-1) == NULL);
}

Test(kernel, every_embedded_shader_finds_its_includes) {
    setenv("MARE_ROOT", TEST_ROOT, 1);
    const char *name;
    for (int i = 0; (name = source_name(i)); i++) {
        size_t n = strlen(name);
        if (strncmp(name, "shaders/", 8) != 0 || strcmp(name + n - 5, ".comp") != 0) continue;
        /* Most shaders need defines, so they may fail; but not for an include. */
        kernel_id id = {name + 8, "", 8, 0, {0}, NULL};
        mare_error e = {0};
        uint32_t *words = NULL;
        size_t count;
        mare_status status = kernel_compile(NULL, &id, &words, &count, &e);
        cr_expect(status == MARE_OK || status == MARE_E_SHADER);
        cr_expect(strstr(e.text, "include") == NULL || strstr(e.text, "include/"), "%s", e.text);
        cr_expect(strstr(e.text, "there is no file") == NULL, "%s", e.text);
        if (status == MARE_OK) free(words);
    }
}

Test(kernel, hostile_names_are_refused) {
    tree_shader("../secret", "x");
    tree_shader("t/ok.comp", "y");
    static const char *const names[] = {
        "",
        "/",
        "shaders",
        "shaders/",
        "secret",
        "shaders/../secret",
        "shaders/t/../../secret",
        "shaders/./t/ok.comp",
        "shaders//t/ok.comp",
        "shaders/t/ok.comp/",
        "/etc/passwd",
        "lua/../secret",
        "shaders\\t",
        "shaders/t\\..\\ok.comp",
        "shaders/t/ok.comp\n",
        "lua/..",
        "shaders/t",
        "../shaders/t/ok.comp",
    };
    for (int pass = 0; pass < 2; pass++) {
        for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
            char *owned;
            size_t len = 7;
            cr_expect(source_text(names[i], &len, &owned) == NULL, "\"%s\"", names[i]);
            cr_expect(len == 0 && owned == NULL);
        }
        unsetenv("MARE_ROOT");
    }
}

Test(kernel, mare_root_is_read_each_time) {
    char *owned;
    size_t len;
    tree_shader("t/a.glsl", "one");
    const char *text = source_text("shaders/t/a.glsl", &len, &owned);
    cr_assert(text && text == owned && len == 3 && strcmp(text, "one") == 0);
    free(owned);
    tree_shader("t/a.glsl", "other");
    text = source_text("shaders/t/a.glsl", &len, &owned);
    cr_assert(text && len == 5 && strcmp(text, "other") == 0);
    free(owned);
    cr_expect(source_text("shaders/include/mare.glsl", &len, &owned) == NULL,
              "what the tree lacks is not taken from the library");
}

/* ---- Compilation -------------------------------------------------------------------------- */

static bool has(const mare_error *e, const char *part) {
    return strstr(e->text, part) != NULL;
}

/* Compiles t/x.comp without a device and expects a failure that says `part`. */
static void expect_error(const char *defines, mare_status code, const char *part) {
    kernel_id id = {"t/x.comp", defines, 1, 1, {32}, NULL};
    mare_error e = {0};
    uint32_t *words;
    size_t count;
    cr_expect(kernel_compile(NULL, &id, &words, &count, &e) == code && e.code == code, "%s",
              e.text);
    cr_expect(has(&e, part) && has(&e, "t/x.comp"), "\"%s\" lacks \"%s\"", e.text, part);
}

Test(kernel, errors_name_file_and_line) {
    tree_shader("include/head.glsl", head);
    tree_shader("include/wrong.glsl",
                "float f() {\n    return 1.0;\n}\nfloat g() { return zz; }\n");
    tree_shader("t/near.glsl", "#include \"wrong.glsl\"\nfloat h() { return g(); }\n");
    tree_shader("t/x.comp", "#include \"head.glsl\"\n\n#include \"near.glsl\"\n"
                            "void main() { y[0] = h(); }\n");
    expect_error("", MARE_E_SHADER, "include/wrong.glsl:4: 'zz' : undeclared identifier");

    tree_shader("t/x.comp", "#include \"head.glsl\"\n// two\nvoid main() { y[0] = zz; }\n");
    expect_error("", MARE_E_SHADER, "t/x.comp:3: 'zz' : undeclared identifier");

    tree_shader("t/near.glsl", "float h() {\n    return zz;\n}\n");
    tree_shader("t/x.comp", "#include \"head.glsl\"\n#include \"near.glsl\"\n"
                            "void main() { y[0] = h(); }\nvoid broken( {}\n");
    expect_error("", MARE_E_SHADER, "t/near.glsl:2: 'zz'");

    tree_shader("t/x.comp", "#include \"head.glsl\"\nvoid main() { y[0] = A; }\n");
    expect_error("B 1\n#A 2\n", MARE_E_ARGUMENT, "#A 2");
    expect_error("A 1", MARE_E_ARGUMENT, "NAME value");
    expect_error("A 1 \\\nB 2\n", MARE_E_ARGUMENT, "NAME value");
    expect_error("A 1\nA 2\n", MARE_E_SHADER, "defines:2: ");
    expect_error("", MARE_E_SHADER, "t/x.comp:2: 'A'");
}

Test(kernel, errors_of_includes) {
    tree_shader("t/x.comp", "// one\n#include \"none.glsl\"\n");
    expect_error("", MARE_E_SHADER, "t/x.comp:2: there is no file \"none.glsl\"");
    tree_shader("t/x.comp", "#include <none.glsl>\n");
    expect_error("", MARE_E_SHADER, "t/x.comp:1: write #include \"name\"");
    tree_shader("t/x.comp", "#include \"\"\n");
    expect_error("", MARE_E_SHADER, "t/x.comp:1: write #include \"name\"");
    tree_shader("t/x.comp", "#include \"../../secret\"\n");
    tree_shader("../secret", "");
    expect_error("", MARE_E_SHADER, "there is no file \"../../secret\"");
    tree_shader("t/x.comp", "#include \"x.comp\"\n");
    expect_error("", MARE_E_SHADER, "includes itself");
    tree_shader("include/a.glsl", "#include \"b.glsl\"\n");
    tree_shader("include/b.glsl", "\n#include \"a.glsl\"\n");
    tree_shader("t/x.comp", "#include \"a.glsl\"\n");
    expect_error("", MARE_E_SHADER, "include/b.glsl:2: \"include/a.glsl\" includes itself");

    mare_error e = {0};
    uint32_t *words;
    size_t count;
    kernel_id id = {"t/none.comp", "", 1, 0, {0}, NULL};
    cr_expect(kernel_compile(NULL, &id, &words, &count, &e) == MARE_E_SHADER);
    cr_expect(has(&e, "t/none.comp") && has(&e, "MARE_ROOT"), "%s", e.text);
    char longer[2000];
    memset(longer, 'x', sizeof longer - 1);
    longer[sizeof longer - 1] = 0;
    id.shader = longer;
    cr_expect(kernel_compile(NULL, &id, &words, &count, &e) == MARE_E_SHADER, "%s", e.text);
    tree_shader("t/x.comp", "");
    expect_error("", MARE_E_SHADER, "shader t/x.comp: ");
}

Test(kernel, includes_in_comments_and_guards) {
    tree_shader("include/head.glsl", head);
    tree_shader("include/once.glsl", "#ifndef ONCE\n#define ONCE\nfloat one() { return 1.0; }\n"
                                     "#endif\n");
    tree_shader("t/good.comp", "/* #include \"none.glsl\"\n#include \"none.glsl\" */ #define X\n"
                               "// #include \"none.glsl\"\r\n"
                               "  #  include \"head.glsl\"\r\n"
                               "#include \"once.glsl\" // again below\n#include \"once.glsl\"\n"
                               "#define include_me 1\n"
                               "void main() { y[0] = one(); }"); /* no newline at the end */
    char message[1024];
    kernel_id id = good_id("");
    cr_expect(spirv_check(&id, message, sizeof message), "%s", message);
}

Test(kernel, spirv_is_valid) {
    write_good();
    kernel_id id = good_id("VALUE 1.0\nUNUSED\n");
    char message[1024];
    cr_expect(spirv_check(&id, message, sizeof message), "%s", message);
    id.buffers = 0;
    cr_expect(spirv_check(&id, message, sizeof message) == false &&
                  strstr(message, "binding past") != NULL,
              "the helper sees a wrong count of buffers");
    uint32_t *words;
    size_t count;
    cr_assert(kernel_compile(NULL, &id, &words, &count, NULL) == MARE_OK);
    cr_expect(words[0] == 0x07230203 && words[1] == 0x00010500, "SPIR-V 1.5");
    free(words);
}

typedef struct variant {
    char defines[64];
    uint32_t *words;
    size_t count;
    mare_status status;
    kernels *k;
} variant;

static void compile_one(void *arg) {
    variant *v = arg;
    kernel_id id = good_id(v->defines);
    mare_error e = {0};
    v->status = kernel_compile(v->k, &id, &v->words, &v->count, &e);
}

Test(kernel, threads_compile_side_by_side) {
    enum { N = 40, DIFFERENT = 10 };
    write_good();
    kernels *k;
    mare_error e = {0};
    cr_assert(kernels_create(NULL, &e, &k) == MARE_OK);
    static variant all[N];
    thread_pool *pool;
    cr_assert(thread_pool_create(4, &pool, NULL) == MARE_OK);
    for (int i = 0; i < N; i++) {
        snprintf(all[i].defines, sizeof all[i].defines, "VALUE %d.0\n", i % DIFFERENT);
        all[i].k = k;
        cr_assert(thread_pool_add(pool, compile_one, &all[i]));
    }
    thread_pool_destroy(pool);
    for (int i = 0; i < N; i++) {
        kernel_id id = good_id(all[i].defines);
        uint32_t *words;
        size_t count;
        cr_assert(all[i].status == MARE_OK);
        cr_assert(kernel_compile(NULL, &id, &words, &count, NULL) == MARE_OK);
        cr_expect(count == all[i].count && memcmp(words, all[i].words, count * 4) == 0, "%d", i);
        free(words);
        free(all[i].words);
    }
    kernel_stats s;
    kernels_get_stats(k, &s);
    cr_expect(s.compiled >= DIFFERENT && s.compiled + s.from_disk == N);
    kernels_destroy(k);
}

/* ---- The disk cache ----------------------------------------------------------------------- */

/* Compiles good.comp with a kernels object of its own, checks the words, returns the counters. */
static kernel_stats compile_fresh(const char *defines) {
    kernels *k;
    mare_error e = {0};
    cr_assert(kernels_create(NULL, &e, &k) == MARE_OK);
    kernel_id id = good_id(defines);
    uint32_t *words, *right;
    size_t count, right_count;
    cr_assert(kernel_compile(k, &id, &words, &count, &e) == MARE_OK, "%s", e.text);
    cr_assert(kernel_compile(NULL, &id, &right, &right_count, &e) == MARE_OK);
    cr_expect(count == right_count && memcmp(words, right, count * 4) == 0, "wrong SPIR-V");
    free(words);
    free(right);
    kernel_stats s;
    kernels_get_stats(k, &s);
    kernels_destroy(k);
    return s;
}

static void expect_hit(bool hit, const char *what) {
    kernel_stats s = compile_fresh("VALUE 1.0\n");
    cr_expect(s.from_disk == hit && s.compiled == !hit, "%s: %s expected", what,
              hit ? "a hit" : "a miss");
}

Test(kernel, cache_hits_and_misses) {
    write_good();
    expect_hit(false, "empty cache");
    expect_hit(true, "second time");
    cr_expect(tree_cached("spirv-", NULL) == 1);
    cr_expect(compile_fresh("VALUE 2.0\n").compiled == 1, "other defines");
    cr_expect(tree_cached("spirv-", NULL) == 2 && tree_cached("", NULL) == 4, "no temporaries");
    tree_shader("include/head.glsl", "// changed\nlayout(local_size_x_id = 0) in;\n"
                                     "layout(binding = 1) buffer Out { float y[]; };\n");
    expect_hit(false, "a changed include");
    expect_hit(true, "and again");
}

Test(kernel, cache_torn_and_hostile_files) {
    write_good();
    char path[512];
    void *data;
    size_t len;
    expect_hit(false, "empty cache");
    cr_assert(tree_cached("spirv-", path) == 1);
    cr_assert(file_read(path, 0, &data, &len, NULL) == MARE_OK);
    unsigned char *bytes = data, *copy = malloc(len + 4);
    /* Cut at every 7th length, and one byte too long. */
    for (size_t n = 0; n <= len + 1; n = n < len && n + 7 > len ? len + 1 : n + 7) {
        memcpy(copy, bytes, len);
        copy[len] = 0;
        cr_assert(file_write(path, copy, n, NULL) == MARE_OK);
        expect_hit(false, "torn");
        expect_hit(true, "written again");
    }
    /* Every byte of the header, and some of the rest, with a bit turned. */
    for (size_t i = 0; i < len; i += i < 40 ? 1 : 61) {
        memcpy(copy, bytes, len);
        copy[i] ^= 0x40;
        cr_assert(file_write(path, copy, len, NULL) == MARE_OK);
        expect_hit(false, "bit turned");
    }
    memset(copy, 0xff, len);
    cr_assert(file_write(path, copy, len, NULL) == MARE_OK);
    expect_hit(false, "all ones");
    /* The entry of another kernel under this one's name. */
    cr_assert(remove(path) == 0);
    compile_fresh("VALUE 2.0\n");
    char other[512];
    cr_assert(tree_cached("spirv-", other) == 1 && rename(other, path) == 0);
    expect_hit(false, "exchanged");
    /* Something there that is no file. */
    cr_assert(remove(path) == 0 && mkdir(path, 0755) == 0);
    expect_hit(false, "a folder in the way");
    expect_hit(false, "a folder in the way");
    free(copy);
    free(data);
}

Test(kernel, cache_folder_that_cannot_be) {
    write_good();
    cr_assert(file_write(tree_path("file"), "x", 1, NULL) == MARE_OK);
    setenv("MARE_CACHE", tree_path("file/below"), 1);
    expect_hit(false, "below a file");
    expect_hit(false, "below a file");
    setenv("MARE_CACHE", "", 1);
    unsetenv("XDG_CACHE_HOME");
    unsetenv("HOME");
    expect_hit(false, "none");
    expect_hit(false, "none");
}

Test(kernel, processes_share_a_cache) {
    write_good();
    enum { N = 4 };
    pid_t child[N];
    for (int i = 0; i < N; i++) {
        child[i] = fork();
        cr_assert(child[i] >= 0);
        if (child[i]) continue;
        bool ok = true;
        for (int j = 0; j < 12 && ok; j++) {
            variant v = {.words = NULL};
            mare_error e;
            snprintf(v.defines, sizeof v.defines, "VALUE %d.0\n", j);
            ok = kernels_create(NULL, &e, &v.k) == MARE_OK;
            compile_one(&v);
            ok = ok && v.status == MARE_OK && v.words[0] == 0x07230203;
            free(v.words);
            kernels_destroy(v.k);
        }
        _exit(ok ? 0 : 1);
    }
    for (int i = 0; i < N; i++) {
        int status;
        cr_assert(waitpid(child[i], &status, 0) == child[i]);
        cr_expect(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    cr_expect(tree_cached("spirv-", NULL) == 12 && tree_cached("", NULL) == 14);
    for (int j = 0; j < 12; j++) {
        char defines[32];
        snprintf(defines, sizeof defines, "VALUE %d.0\n", j);
        cr_expect(compile_fresh(defines).from_disk == 1);
    }
}
