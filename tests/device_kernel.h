/* A kernel for the tests of the device layer, which stands below the shader compiler: SPIR-V as
 * text, assembled when the test runs. Its source:
 *
 *     layout(local_size_x_id = 0) in;
 *     layout(constant_id = 1) const uint c = 0;
 *     layout(std140, binding = 0) uniform Params { uint n, a, times; };
 *     layout(std430, binding = 1) readonly buffer X { uint x[]; };
 *     layout(std430, binding = 2) buffer Y { uint y[]; };
 *     void main() {
 *         uint i = gl_GlobalInvocationID.x;
 *         if (i >= n) return;
 *         uint v = y[i];
 *         for (uint k = 0; k < times; k++) v = v * a + x[i] + c;
 *         y[i] = v;
 *     }
 */
#ifndef TESTS_DEVICE_KERNEL_H
#define TESTS_DEVICE_KERNEL_H

#include <criterion/criterion.h>
#include <spirv-tools/libspirv.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static const char device_kernel_text[] =
    "OpCapability Shader\n"
    "OpMemoryModel Logical GLSL450\n"
    "OpEntryPoint GLCompute %main \"main\" %id %params %xs %ys\n"
    "OpExecutionMode %main LocalSize 1 1 1\n"
    "OpDecorate %id BuiltIn GlobalInvocationId\n"
    "OpDecorate %Params Block\n"
    "OpMemberDecorate %Params 0 Offset 0\n"
    "OpMemberDecorate %Params 1 Offset 4\n"
    "OpMemberDecorate %Params 2 Offset 8\n"
    "OpDecorate %params DescriptorSet 0\n"
    "OpDecorate %params Binding 0\n"
    "OpDecorate %array ArrayStride 4\n"
    "OpDecorate %X Block\n"
    "OpMemberDecorate %X 0 NonWritable\n"
    "OpMemberDecorate %X 0 Offset 0\n"
    "OpDecorate %xs DescriptorSet 0\n"
    "OpDecorate %xs Binding 1\n"
    "OpDecorate %Y Block\n"
    "OpMemberDecorate %Y 0 Offset 0\n"
    "OpDecorate %ys DescriptorSet 0\n"
    "OpDecorate %ys Binding 2\n"
    "OpDecorate %c SpecId 1\n"
    "OpDecorate %size_x SpecId 0\n"
    "OpDecorate %size BuiltIn WorkgroupSize\n"
    "%void = OpTypeVoid\n"
    "%main_t = OpTypeFunction %void\n"
    "%uint = OpTypeInt 32 0\n"
    "%bool = OpTypeBool\n"
    "%v3uint = OpTypeVector %uint 3\n"
    "%in_v3uint = OpTypePointer Input %v3uint\n"
    "%in_uint = OpTypePointer Input %uint\n"
    "%array = OpTypeRuntimeArray %uint\n"
    "%Params = OpTypeStruct %uint %uint %uint\n"
    "%X = OpTypeStruct %array\n"
    "%Y = OpTypeStruct %array\n"
    "%to_Params = OpTypePointer Uniform %Params\n"
    "%to_param = OpTypePointer Uniform %uint\n"
    "%to_X = OpTypePointer StorageBuffer %X\n"
    "%to_Y = OpTypePointer StorageBuffer %Y\n"
    "%to_uint = OpTypePointer StorageBuffer %uint\n"
    "%id = OpVariable %in_v3uint Input\n"
    "%params = OpVariable %to_Params Uniform\n"
    "%xs = OpVariable %to_X StorageBuffer\n"
    "%ys = OpVariable %to_Y StorageBuffer\n"
    "%0 = OpConstant %uint 0\n"
    "%1 = OpConstant %uint 1\n"
    "%2 = OpConstant %uint 2\n"
    "%c = OpSpecConstant %uint 0\n"
    "%size_x = OpSpecConstant %uint 1\n"
    "%size = OpSpecConstantComposite %v3uint %size_x %1 %1\n"
    "%main = OpFunction %void None %main_t\n"
    "%entry = OpLabel\n"
    "%p_i = OpAccessChain %in_uint %id %0\n"
    "%i = OpLoad %uint %p_i\n"
    "%p_n = OpAccessChain %to_param %params %0\n"
    "%n = OpLoad %uint %p_n\n"
    "%p_a = OpAccessChain %to_param %params %1\n"
    "%a = OpLoad %uint %p_a\n"
    "%p_times = OpAccessChain %to_param %params %2\n"
    "%times = OpLoad %uint %p_times\n"
    "%inside = OpULessThan %bool %i %n\n"
    "OpSelectionMerge %done None\n"
    "OpBranchConditional %inside %work %done\n"
    "%work = OpLabel\n"
    "%p_x = OpAccessChain %to_uint %xs %0 %i\n"
    "%p_y = OpAccessChain %to_uint %ys %0 %i\n"
    "%first = OpLoad %uint %p_y\n"
    "OpBranch %loop\n"
    "%loop = OpLabel\n"
    "%v = OpPhi %uint %first %work %next %body\n"
    "%k = OpPhi %uint %0 %work %k_next %body\n"
    "%more = OpULessThan %bool %k %times\n"
    "OpLoopMerge %end %body None\n"
    "OpBranchConditional %more %body %end\n"
    "%body = OpLabel\n"
    "%x = OpLoad %uint %p_x\n"
    "%va = OpIMul %uint %v %a\n"
    "%vax = OpIAdd %uint %va %x\n"
    "%next = OpIAdd %uint %vax %c\n"
    "%k_next = OpIAdd %uint %k %1\n"
    "OpBranch %loop\n"
    "%end = OpLabel\n"
    "OpStore %p_y %v\n"
    "OpBranch %done\n"
    "%done = OpLabel\n"
    "OpReturn\n"
    "OpFunctionEnd\n";

/* The kernel's words; freed by the caller. */
static inline uint32_t *device_kernel(size_t *count) {
    spv_context context = spvContextCreate(SPV_ENV_VULKAN_1_2);
    spv_binary binary = NULL;
    spv_diagnostic diagnostic = NULL;
    spv_result_t r = spvTextToBinary(context, device_kernel_text, strlen(device_kernel_text),
                                     &binary, &diagnostic);
    cr_assert(r == SPV_SUCCESS, "%s", diagnostic ? diagnostic->error : "no diagnostic");
    uint32_t *words = malloc(binary->wordCount * 4);
    cr_assert(words);
    memcpy(words, binary->code, binary->wordCount * 4);
    *count = binary->wordCount;
    spvBinaryDestroy(binary);
    spvContextDestroy(context);
    return words;
}

#endif
