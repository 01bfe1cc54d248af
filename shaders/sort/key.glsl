// A word whose order, without sign, is the order of the elements. NaN comes last when ascending and
// first when descending; the two zeros are equal.
uint sort_key(float x) {
    uint u = floatBitsToUint(x);
    u = (u << 1) == 0u ? 0u : u;
    uint key = (u & 0x80000000u) != 0u ? ~u : u | 0x80000000u;
    key = is_nan(x) ? 0xffffffffu : key;
#ifdef DESCENDING
    key = ~key;
#endif
    return key;
}
uint sort_key(int x) {
    uint key = uint(x) ^ 0x80000000u;
#ifdef DESCENDING
    key = ~key;
#endif
    return key;
}
