#include "kernel/internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <glslang/Include/glslang_c_interface.h>
#include <glslang/Public/resource_limits_c.h>
#include <glslang/build_info.h>

#define STRING_(x) #x
#define STRING(x) STRING_(x)

const char *compile_version(void) {
    return "glslang " STRING(GLSLANG_VERSION_MAJOR) "." STRING(GLSLANG_VERSION_MINOR) "." STRING(
        GLSLANG_VERSION_PATCH) ", Vulkan 1.2, SPIR-V 1.5";
}

/* glslang is set up once in a process, however many contexts there are, and its set-up is not safe
 * from two threads at once. It stays set up: another user in the process may need it still. */
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void initialize(void) {
    glslang_initialize_process();
}

/* The errors in glslang's log, without what says nothing: warnings, counts, "terminated". */
static mare_status report(const char *name, const char *log, mare_error *e) {
    text t = {0};
    for (const char *p = log ? log : ""; *p;) {
        size_t n = strcspn(p, "\n");
        static const char mark[] = "ERROR: ";
        if (n >= sizeof mark - 1 && memcmp(p, mark, sizeof mark - 1) == 0) {
            const char *line = p + sizeof mark - 1;
            size_t len = n - (sizeof mark - 1);
            while (len && line[len - 1] == ' ')
                len--;
            text_add(&t, "%.*s\n", (int)len, line);
            char *noise = t.failed ? NULL : t.data + t.len - len - 1;
            if (noise && (strstr(noise, "compilation errors.") || strstr(noise, "terminated\n"))) {
                t.len -= len + 1;
                t.data[t.len] = 0;
            }
        }
        p += n + (p[n] == '\n');
    }
    if (t.len) t.data[t.len - 1] = 0;
    mare_status status = error_set(e, MARE_E_SHADER, "shader %s: %s", name,
                                   t.len ? text_str(&t) : "the compiler failed without a word");
    text_free(&t);
    return status;
}

static mare_status link(const char *name, glslang_shader_t *shader, uint32_t **words, size_t *count,
                        mare_error *e) {
    glslang_program_t *program = glslang_program_create();
    if (!program) return error_no_memory(e, 0);
    glslang_program_add_shader(program, shader);
    mare_status status = MARE_OK;
    if (!glslang_program_link(program, GLSLANG_MSG_SPV_RULES_BIT | GLSLANG_MSG_VULKAN_RULES_BIT)) {
        status = report(name, glslang_program_get_info_log(program), e);
    } else {
        glslang_spv_options_t options = {.strip_debug_info = true, .disable_optimizer = true};
        glslang_program_SPIRV_generate_with_options(program, GLSLANG_STAGE_COMPUTE, &options);
        size_t n = glslang_program_SPIRV_get_size(program);
        uint32_t *code = n ? malloc(n * sizeof *code) : NULL;
        if (!n) {
            status = report(name, glslang_program_SPIRV_get_messages(program), e);
        } else if (!code) {
            status = error_no_memory(e, n * sizeof *code);
        } else {
            glslang_program_SPIRV_get(program, code);
            *words = code;
            *count = n;
        }
    }
    glslang_program_delete(program);
    return status;
}

mare_status compile_glsl(const char *name, const char *source, uint32_t **words, size_t *count,
                         mare_error *e) {
    pthread_once(&once, initialize);
    glslang_input_t input = {
        .language = GLSLANG_SOURCE_GLSL,
        .stage = GLSLANG_STAGE_COMPUTE,
        .client = GLSLANG_CLIENT_VULKAN,
        .client_version = GLSLANG_TARGET_VULKAN_1_2,
        .target_language = GLSLANG_TARGET_SPV,
        .target_language_version = GLSLANG_TARGET_SPV_1_5,
        .code = source,
        .default_version = 450,
        .default_profile = GLSLANG_NO_PROFILE,
        .messages = GLSLANG_MSG_SPV_RULES_BIT | GLSLANG_MSG_VULKAN_RULES_BIT,
        .resource = glslang_default_resource(),
    };
    glslang_shader_t *shader = glslang_shader_create(&input);
    if (!shader) return error_no_memory(e, 0);
    mare_status status;
    if (!glslang_shader_preprocess(shader, &input) || !glslang_shader_parse(shader, &input))
        status = report(name, glslang_shader_get_info_log(shader), e);
    else
        status = link(name, shader, words, count, e);
    glslang_shader_delete(shader);
    return status;
}
