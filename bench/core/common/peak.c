#include "peak.h"

#include <math.h>
#include <stdio.h>

#include "bench.h"

#if defined(__x86_64__)
#include <immintrin.h>
#elif defined(__aarch64__)
#include <arm_neon.h>
#endif

/*
 * Independent sums, all in registers: latency 4 with two units a cycle keeps 8 busy, so 12 leave
 * room, and as many fit beside the two factors in 16 registers.
 */
#define SUMS 12
#define RUNS 15
/* Multiply-adds of one sum in one run. */
#define STEPS 8000000L

/* A core's fp32 GFLOP/s from which on the higher goals apply. */
#define FAST_CORE 250

/* One run: STEPS multiply-adds for each of SUMS registers; *sink keeps them from being dropped. */
typedef void (*peak_loop)(float *sink);

/* The loop's body over all sums, which stay apart so that nothing waits for anything else. */
#define LOOP(type, load, step, store)                                                              \
	type s0 = load(0.01f), s1 = load(0.02f), s2 = load(0.03f), s3 = load(0.04f);                   \
	type s4 = load(0.05f), s5 = load(0.06f), s6 = load(0.07f), s7 = load(0.08f);                   \
	type s8 = load(0.09f), s9 = load(0.10f), s10 = load(0.11f), s11 = load(0.12f);                 \
	for (long i = 0; i < STEPS; i++)                                                               \
	{                                                                                              \
		s0 = step(s0), s1 = step(s1), s2 = step(s2), s3 = step(s3);                                \
		s4 = step(s4), s5 = step(s5), s6 = step(s6), s7 = step(s7);                                \
		s8 = step(s8), s9 = step(s9), s10 = step(s10), s11 = step(s11);                            \
	}                                                                                              \
	store(s0), store(s1), store(s2), store(s3), store(s4), store(s5);                              \
	store(s6), store(s7), store(s8), store(s9), store(s10), store(s11)

#if defined(__x86_64__)

__attribute__((target("avx512f"))) static void
fp32_avx512(float *sink)
{
	__m512 a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(0.001f);

#define STEP(s) _mm512_fmadd_ps(s, a, b)
#define STORE(s) _mm512_storeu_ps(sink, _mm512_add_ps(_mm512_loadu_ps(sink), s))
	LOOP(__m512, _mm512_set1_ps, STEP, STORE);
#undef STEP
#undef STORE
}

__attribute__((target("avx512f,avx512bf16"))) static void
bf16_avx512(float *sink)
{
	__m512bh a = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.5f), _mm512_set1_ps(0.25f));
	__m512bh b = _mm512_cvtne2ps_pbh(_mm512_set1_ps(0.001f), _mm512_set1_ps(0.002f));

#define STEP(s) _mm512_dpbf16_ps(s, a, b)
#define STORE(s) _mm512_storeu_ps(sink, _mm512_add_ps(_mm512_loadu_ps(sink), s))
	LOOP(__m512, _mm512_set1_ps, STEP, STORE);
#undef STEP
#undef STORE
}

__attribute__((target("avx2,fma"))) static void
fp32_avx2(float *sink)
{
	__m256 a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(0.001f);

#define STEP(s) _mm256_fmadd_ps(s, a, b)
#define STORE(s) _mm256_storeu_ps(sink, _mm256_add_ps(_mm256_loadu_ps(sink), s))
	LOOP(__m256, _mm256_set1_ps, STEP, STORE);
#undef STEP
#undef STORE
}

#elif defined(__aarch64__)

static void
fp32_neon(float *sink)
{
	float32x4_t a = vdupq_n_f32(0.999f), b = vdupq_n_f32(0.001f);

#define STEP(s) vfmaq_f32(b, s, a)
#define STORE(s) vst1q_f32(sink, vaddq_f32(vld1q_f32(sink), s))
	LOOP(float32x4_t, vdupq_n_f32, STEP, STORE);
#undef STEP
#undef STORE
}

#endif

/* The loop for a unit, and the operations of one step of one sum; NULL when there is none. */
static peak_loop
find_loop(stk_simd simd, bench_unit unit, double *operations)
{
#if defined(__x86_64__)
	if (simd == STK_SIMD_AVX512 && unit == BENCH_FP32 && __builtin_cpu_supports("avx512f"))
	{
		*operations = 2 * 16;
		return fp32_avx512;
	}
	if (simd == STK_SIMD_AVX512 && unit == BENCH_BF16 && __builtin_cpu_supports("avx512bf16"))
	{
		*operations = 2 * 32;
		return bf16_avx512;
	}
	if (simd == STK_SIMD_AVX2 && unit == BENCH_FP32 && __builtin_cpu_supports("fma"))
	{
		*operations = 2 * 8;
		return fp32_avx2;
	}
#elif defined(__aarch64__)
	if (simd == STK_SIMD_NEON && unit == BENCH_FP32)
	{
		*operations = 2 * 4;
		return fp32_neon;
	}
#endif
	(void) simd;
	(void) unit;
	*operations = 0;
	return NULL;
}

typedef struct peak_run
{
	peak_loop loop;
	const stk_pool *pool;
} peak_run;

static void
peak_task(void *arg, size_t index, int thread)
{
	const peak_run *run = arg;
	float sink[16] = {0};

	(void) index;
	(void) thread;
	run->loop(sink);
}

static void
run_all(void *arg)
{
	const peak_run *run = arg;

	stk_run(run->pool, peak_task, arg, (size_t) stk_threads(run->pool));
}

double
bench_peak(stk_simd simd, bench_unit unit, const stk_pool *pool)
{
	static double best[STK_SIMD_SCALAR + 1][2][2];
	double *known = &best[simd][unit][pool != NULL];
	double operations, seconds;
	peak_run run = {find_loop(simd, unit, &operations), pool};

	if (!run.loop)
		return 0;
	seconds = bench_measure(RUNS, run_all, &run).shortest;
	*known = fmax(*known, 1e-9 * operations * SUMS * STEPS * stk_threads(pool) / seconds);
	return *known;
}

void
bench_goal_times(const char *what, double fast, double slow, double times)
{
	static double peak;
	char goal[160];
	double least;

	if (peak == 0)
		peak = fmax(bench_peak(STK_SIMD_AVX512, BENCH_FP32, NULL),
					fmax(bench_peak(STK_SIMD_AVX2, BENCH_FP32, NULL),
						 bench_peak(STK_SIMD_NEON, BENCH_FP32, NULL)));
	least = peak >= FAST_CORE ? fast : slow;
	snprintf(goal, sizeof(goal), "%s at least %.1f times (a core's fp32 peak %.0f GFLOP/s, %s %d)",
			 what, least, peak, peak >= FAST_CORE ? "from" : "below", FAST_CORE);
	if (isnan(times))
		bench_goal_open(goal, "the rival is not installed");
	else
		bench_goal(times >= least, goal, "%.2f", times);
}
