// Shared by all kernels.
//
// Conventions: binding 0 is the parameter block (a uniform buffer), bindings 1.. are storage buffers.
// Specialisation constant 0 is the workgroup size along x. Work is counted along one axis and folded
// over x and y when there are more groups than the device allows on one axis, so every kernel checks
// its index against its count.
layout(local_size_x_id = 0) in;

uint group_index() { return gl_WorkGroupID.y * gl_NumWorkGroups.x + gl_WorkGroupID.x; }
uint global_index() { return group_index() * gl_WorkGroupSize.x + gl_LocalInvocationID.x; }
