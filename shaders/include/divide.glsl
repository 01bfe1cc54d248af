// n / d for n < 2^31, by the words that launch_divisor() of plan/lower.h makes for d: a processor that
// runs shaders divides one number at a time, and so do many GPUs.
uint divided(uint n, uint multiplier, uint shift) {
    uint high, low;
    umulExtended(n, multiplier, high, low);
    return (high + n) >> shift;
}
