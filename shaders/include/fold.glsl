// What reductions and scans join: a Sum of elements put in one after the other, and two sums joined,
// that of the earlier elements first. The shader defines KIND_<op> and T, and FLOATS or INTS; LAST
// when the last of equal elements is wanted, not the first. Needs bits.glsl, and for KIND_logsumexp
// math.glsl with exp and log.
#ifdef FLOATS
#define WORD_OF(x) floatBitsToUint(x)
#define FROM_WORD(w) uintBitsToFloat(w)
#else
#define WORD_OF(x) uint(x)
#define FROM_WORD(w) int(w)
#endif

bool nan(float x) { return is_nan(x); }
bool nan(int x) { return false; }

#if defined KIND_argmax || defined KIND_argmin
#define ARG
struct Sum { T v; uint at; };
Sum start() { return Sum(T(0), 0xffffffffu); }
// NaN is better than all.
bool better(T x, T y) {
#ifdef KIND_argmax
    return !nan(y) && (nan(x) || x > y);
#else
    return !nan(y) && (nan(x) || x < y);
#endif
}
void join(inout Sum a, Sum b) {
    if (b.at == 0xffffffffu) return;
    bool tie = !better(a.v, b.v) && !better(b.v, a.v);
#ifdef LAST
    bool other = b.at > a.at;
#else
    bool other = b.at < a.at;
#endif
    if (a.at == 0xffffffffu || better(b.v, a.v) || (tie && other)) a = b;
}
void put(inout Sum a, T x, uint at) { join(a, Sum(x, at)); }
#define RESULT(a) int(a.at)
uvec2 sum_words(Sum a) { return uvec2(WORD_OF(a.v), a.at); }
Sum words_sum(uvec2 w) { return Sum(FROM_WORD(w.x), w.y); }

#elif defined KIND_sum && defined FLOATS
// Compensated: `low` collects what the additions rounded away (exactly so, by Knuth's TwoSum).
struct Sum { float v, low; };
Sum start() { return Sum(0.0, 0.0); }
void put(inout Sum a, float x, uint at) {
    precise float t = a.v + x;
    precise float from_x = t - a.v;
    precise float lost = (a.v - (t - from_x)) + (x - from_x);
    a.v = t;
    a.low += lost;
}
void join(inout Sum a, Sum b) {
    put(a, b.v, 0u);
    a.low += b.low;
}
#define RESULT(a) (is_finite(a.v) ? a.v + a.low : a.v)
uvec2 sum_words(Sum a) { return uvec2(WORD_OF(a.v), WORD_OF(a.low)); }
Sum words_sum(uvec2 w) { return Sum(FROM_WORD(w.x), FROM_WORD(w.y)); }

#elif defined KIND_logsumexp
// exp(v) times s, with v the largest element: nothing overflows.
struct Sum { float v, s; };
Sum start() { return Sum(-make_inf(), 0.0); }
void join(inout Sum a, Sum b) {
    float top = nan(a.v) || a.v > b.v ? a.v : b.v;
    float s = a.v == top ? a.s : a.s * m_exp(a.v - top);
    a = Sum(top, s + (b.v == top ? b.s : b.s * m_exp(b.v - top)));
}
void put(inout Sum a, float x, uint at) { join(a, Sum(x, 1.0)); }
#define RESULT(a) (is_finite(a.v) ? a.v + m_log(a.s) : a.v)
uvec2 sum_words(Sum a) { return uvec2(WORD_OF(a.v), WORD_OF(a.s)); }
Sum words_sum(uvec2 w) { return Sum(FROM_WORD(w.x), FROM_WORD(w.y)); }

#else
struct Sum { T v; };
#if defined KIND_sum
Sum start() { return Sum(T(0)); }
void put(inout Sum a, T x, uint at) { a.v += x; }
#elif defined KIND_prod
Sum start() { return Sum(T(1)); }
void put(inout Sum a, T x, uint at) { a.v *= x; }
#elif defined KIND_max
#ifdef FLOATS
Sum start() { return Sum(-make_inf()); }
#else
Sum start() { return Sum(-2147483647 - 1); }
#endif
void put(inout Sum a, T x, uint at) { if (nan(x) || (!nan(a.v) && x > a.v)) a.v = x; }
#else
#ifdef FLOATS
Sum start() { return Sum(make_inf()); }
#else
Sum start() { return Sum(2147483647); }
#endif
void put(inout Sum a, T x, uint at) { if (nan(x) || (!nan(a.v) && x < a.v)) a.v = x; }
#endif
void join(inout Sum a, Sum b) { put(a, b.v, 0u); }
#define RESULT(a) a.v
uvec2 sum_words(Sum a) { return uvec2(WORD_OF(a.v), 0u); }
Sum words_sum(uvec2 w) { return Sum(FROM_WORD(w.x)); }
#endif
