// Sampling by a table: result k is the sum over taps t of w[t, k] times the element of an axis at
// index[t, k]; an index outside the axis is nothing. Tensors are [images, channels, axis, inner],
// tables [images or 1, taps, results].
#include "mare.glsl"

layout(std140, binding = 0) uniform Params {
    uint count;    // of invocations
    uint images;
    uint channels;
    uint size;     // of the axis
    uint inner;
    uint taps;
    uint results;
    uint table;    // from one image's table to the next: 0 when they share it
    uint lists;    // the same for lists
};

// Splits i, an element of [images, channels / PER, axis, inner].
void split(uint i, uint axis, out uint image, out uint channel, out uint at, out uint c) {
    uint t = i / inner, parts = (channels + PER - 1u) / PER;
    c = i - t * inner;
    uint part = t / axis;
    at = t - part * axis;
    image = part / parts;
    channel = (part - image * parts) * PER;
}

// The plane of the q-th channel of an invocation, or of the last.
uint plane(uint image, uint channel, uint q) {
    return image * channels + min(channel + q, channels - 1u);
}
