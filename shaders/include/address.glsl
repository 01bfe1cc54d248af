// Buffers by address: a kernel that includes this gets those of its storage buffers, in the order of
// their bindings, where the device has them (DEV_BUFFER_ADDRESS). BUFFERS: how many it binds.
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
layout(push_constant) uniform Addresses { uint64_t address[BUFFERS]; };
