/* Checks a kernel without a device: it compiles, SPIRV-Tools finds its SPIR-V valid for Vulkan 1.2,
 * and the bindings that it declares are those that kernel_id says it binds. */
#ifndef TESTS_SPIRV_CHECK_H
#define TESTS_SPIRV_CHECK_H

#include "kernel/kernel.h"

#include <spirv-tools/libspirv.h>
#include <stdio.h>
#include <stdlib.h>

/* Null when the bindings of a module are right, else what is wrong. */
static inline const char *spirv_bindings(const uint32_t *words, size_t count, int buffers) {
    enum { HEADER = 5, OP_DECORATE = 71, BINDING = 33, SET = 34 };
    for (size_t i = HEADER; i < count;) {
        uint32_t length = words[i] >> 16, opcode = words[i] & 0xffff;
        if (length == 0 || i + length > count) return "an instruction runs over the end";
        if (opcode == OP_DECORATE && length == 4) {
            if (words[i + 2] == BINDING && words[i + 3] > (uint32_t)buffers)
                return "it declares a binding past those that it is given";
            if (words[i + 2] == SET && words[i + 3] != 0) return "it uses a set other than 0";
        }
        i += length;
    }
    return NULL;
}

/* True when all is well; else the reason is in message. k may be null: then nothing comes from the
 * disk cache. */
static inline bool spirv_check_with(kernels *k, const kernel_id *id, char *message, size_t size) {
    mare_error e = {0};
    uint32_t *words;
    size_t count;
    if (kernel_compile(k, id, &words, &count, &e) != MARE_OK) {
        snprintf(message, size, "%s", e.text);
        return false;
    }
    spv_context context = spvContextCreate(SPV_ENV_VULKAN_1_2);
    spv_const_binary_t binary = {words, count};
    spv_diagnostic diagnostic = NULL;
    bool ok = spvValidate(context, &binary, &diagnostic) == SPV_SUCCESS;
    if (!ok)
        snprintf(message, size, "shader %s: %s", id->shader,
                 diagnostic ? diagnostic->error : "not valid SPIR-V");
    const char *wrong = ok ? spirv_bindings(words, count, id->buffers) : NULL;
    if (wrong) {
        snprintf(message, size, "shader %s: %s (%d buffers)", id->shader, wrong, id->buffers);
        ok = false;
    }
    spvDiagnosticDestroy(diagnostic);
    spvContextDestroy(context);
    free(words);
    return ok;
}

static inline bool spirv_check(const kernel_id *id, char *message, size_t size) {
    return spirv_check_with(NULL, id, message, size);
}

#endif
