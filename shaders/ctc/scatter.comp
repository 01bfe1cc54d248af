// The gradient of the scores out of the table of probabilities (beta.comp): an invocation adds up
// what one label of a sequence has at one step, at all its positions. The rest of the gradient is 0
// already.
#include "labels.glsl"

layout(std430, binding = 2) readonly buffer Table { float table[]; };
layout(std430, binding = 3) readonly buffer GY { float gy[]; };
layout(std430, binding = 4) writeonly buffer Grad { float grad[]; };

void main() {
    uint i = global_index();
    if (i >= count * steps * (targets + 1u)) return;
    uint rest = i / (targets + 1u);
    uint k = i - rest * (targets + 1u); // a target, or after them the blank
    uint row = rest / steps;
    uint t = rest - row * steps;
    sequence s = find_sequence(row);
    bool first = t < s.steps && (k < s.targets || k == targets);
    bool is_blank = k == targets;
    uint own = blank;
    if (first && !is_blank) own = target(s, k);
    // The first of equal targets speaks for all of them; a blank among the targets is a blank.
    if (!is_blank)
        for (uint j = 0u; j < k && first; j++)
            first = target(s, j) != own;
    first = first && (is_blank || own != blank);
    float sum = 0.0;
    uint at = table_first + table_row(s, t);
    if (first) {
        for (uint j = 0u; j <= s.targets; j++) {
            if (is_blank) sum += table[at + 2u * j];
            if (j < s.targets && target(s, j) == own) sum += table[at + 2u * j + 1u];
        }
        grad[int(grad_first) + int(t) * step_stride + int(row) * row_stride
             + int(own) * class_stride] = -gy[other_first + row] * sum;
    }
}
