// Tests that hold whatever a compiler assumes about NaN and infinity: they look at the bits.
bool is_nan(float x) { return (floatBitsToUint(x) & 0x7fffffffu) > 0x7f800000u; }
bool is_inf(float x) { return (floatBitsToUint(x) & 0x7fffffffu) == 0x7f800000u; }
bool is_finite(float x) { return (floatBitsToUint(x) & 0x7fffffffu) < 0x7f800000u; }
float make_nan() { return uintBitsToFloat(0x7fc00000u); }
float make_inf() { return uintBitsToFloat(0x7f800000u); }
// Have a and b one sign? Of the bits: comparisons may take a subnormal number for 0.
bool same_sign(float a, float b) {
    return ((floatBitsToUint(a) ^ floatBitsToUint(b)) & 0x80000000u) == 0u;
}
// |x| with the sign of s.
float with_sign(float x, float s) {
    return uintBitsToFloat((floatBitsToUint(x) & 0x7fffffffu) | (floatBitsToUint(s) & 0x80000000u));
}
