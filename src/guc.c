#include "postgres.h"

#include <limits.h>

#include "guc.h"
#include "types/bridge.h"
#include "types/codebook.h"
#include "utils/guc.h"
#include "worker/protocol.h"

int semtok_beam_width = 0;
int semtok_codebook_cache = 256 * 1024;
int semtok_scorer_tokenizer = 0;
int semtok_simd = STK_SIMD_AUTO;
int semtok_tokenizer_id_base = 0;
int semtok_device = STK_DEVICE_AUTO;
char *semtok_cuda_devices = NULL;
int semtok_offload = OFFLOAD_AUTO;
int semtok_worker_memory = 1024 * 1024;
int semtok_worker_threads = 0;
int semtok_worker_timeout = 5000;
int semtok_max_worker_bytes = -1;
int semtok_batch_max = 64;
int semtok_batch_wait_us = 0;

/* The last base whose ids are all numbers of type int. */
#define MAX_ID_BASE (INT_MAX / TOKENIZER_IDS * TOKENIZER_IDS - TOKENIZER_IDS)

/* Devices that semtok.cuda_devices can name. */
#define CUDA_DEVICES 16

static const struct config_enum_entry simd_names[] = {
	{"auto", STK_SIMD_AUTO, false},     {"avx512", STK_SIMD_AVX512, false},
	{"avx2", STK_SIMD_AVX2, false},     {"neon", STK_SIMD_NEON, false},
	{"scalar", STK_SIMD_SCALAR, false}, {NULL, 0, false}};

static const struct config_enum_entry device_names[] = {{"auto", STK_DEVICE_AUTO, false},
														{"cpu", STK_DEVICE_CPU, false},
														{"cuda", STK_DEVICE_CUDA, false},
														{NULL, 0, false}};

static const struct config_enum_entry offload_names[] = {
	{"auto", OFFLOAD_AUTO, false}, {"on", OFFLOAD_ON, false},
	{"off", OFFLOAD_OFF, false},   {"true", OFFLOAD_ON, true},
	{"false", OFFLOAD_OFF, true},  {"yes", OFFLOAD_ON, true},
	{"no", OFFLOAD_OFF, true},     {"1", OFFLOAD_ON, true},
	{"0", OFFLOAD_OFF, true},      {NULL, 0, false}};

/* Refuse a vector unit that this processor, or this build, has not got. */
static bool
CheckSimd(int *value, void **extra, GucSource source)
{
	stk_error err = {.level = -1};

	if (SemtokCpu((stk_simd) *value, &err))
		return true;
	GUC_check_errdetail("%s", SemtokErrorSentence(&err));
	GUC_check_errhint("With auto the best that the processor has is used.");
	return false;
}

/* "all", "none", or numbers with a comma between them, and blanks behind that. */
static bool
CheckCudaDevices(char **value, void **extra, GucSource source)
{
	const char *at = *value;

	if (strcmp(at, "all") == 0 || strcmp(at, "none") == 0)
		return true;
	for (int n = 0; n < CUDA_DEVICES; n++)
	{
		size_t digits = strspn(at, "0123456789");

		if (digits == 0 || digits > 4)
			break;
		at += digits;
		if (*at == '\0')
			return true;
		if (*at++ != ',')
			break;
		at += strspn(at, " ");
	}
	GUC_check_errdetail("Expected \"all\", \"none\", or up to %d numbers of devices, such as "
						"\"0,1\".",
						CUDA_DEVICES);
	return false;
}

/* Any other base would lie within the ids of another node. */
static bool
CheckIdBase(int *value, void **extra, GucSource source)
{
	if (*value % TOKENIZER_IDS == 0)
		return true;
	GUC_check_errdetail("The base must be a multiple of %d.", TOKENIZER_IDS);
	return false;
}

/* What no longer fits goes now, not when a codebook is used next. */
static void
AssignCodebookCache(int value, void *extra)
{
	CodebookCacheTrim(value);
}

static void
SemtokDefineWorkerSettings(void)
{
	DefineCustomEnumVariable("semtok.device", "Device that heavy work is computed on.",
							 "auto takes the faster one and falls back to the processor; cuda is "
							 "an error where there is "
							 "none. The answer is the same.",
							 &semtok_device, STK_DEVICE_AUTO, device_names, PGC_USERSET, 0, NULL,
							 NULL, NULL);
	DefineCustomStringVariable(
		"semtok.cuda_devices", "CUDA devices that a worker process may use.",
		"all, none, or their numbers: 0,1. Several share large work. A change begins a new worker.",
		&semtok_cuda_devices, "all", PGC_SIGHUP, 0, CheckCudaDevices, NULL, NULL);
	DefineCustomEnumVariable(
		"semtok.offload", "Whether heavy work leaves the session for a worker process.",
		"auto decides by the size of the work; off computes in the session, on one core. The "
		"answer "
		"is the same.",
		&semtok_offload, OFFLOAD_AUTO, offload_names, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"semtok.worker_memory", "Memory that a worker process may take.",
		"Cached codebooks, data under way and computations together. Work that needs more is "
		"computed in the session.",
		&semtok_worker_memory, 1024 * 1024, 16 * 1024, INT_MAX, PGC_SIGHUP, GUC_UNIT_KB, NULL, NULL,
		NULL);
	DefineCustomIntVariable("semtok.worker_threads",
							"Threads that a worker process computes on; 0 is one for each core.",
							NULL, &semtok_worker_threads, 0, 0, STK_MAX_THREADS, PGC_SIGHUP, 0,
							NULL, NULL, NULL);
	DefineCustomIntVariable(
		"semtok.worker_timeout", "Time without a sign of life after which a worker counts as lost.",
		"What it was asked for is then asked of another one, and after that computed in the "
		"session. One that begins has 5 seconds at least.",
		&semtok_worker_timeout, 5000, 10, INT_MAX / 2, PGC_USERSET, GUC_UNIT_MS, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"semtok.max_worker_bytes", "Data that a session may hand to a worker at a time; -1 is any.",
		"What is more the session computes; with semtok.offload = on it is an error. Give roles "
		"limits of their own by ALTER ROLE ... SET.",
		&semtok_max_worker_bytes, -1, -1, INT_MAX, PGC_SUSET, GUC_UNIT_KB, NULL, NULL, NULL);
	DefineCustomIntVariable("semtok.batch_max",
							"Requests of several sessions that a worker gathers into one launch.",
							NULL, &semtok_batch_max, 64, 1, 65536, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("semtok.batch_wait_us",
							"Microseconds that a worker waits for more requests of a kind.",
							"With 0 it takes those that came while it was busy.",
							&semtok_batch_wait_us, 0, 0, 1000000, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

void
SemtokDefineSettings(void)
{
	DefineCustomIntVariable(
		"semtok.beam_width", "Live nodes per level of an ordered semtrie scan; 0 searches exactly.",
		"With a positive width, ORDER BY sid <~> query keeps that many prefixes "
		"a level, as a beam search does: the scan then returns fewer rows than "
		"the table has, and the answer depends on whether the index is used.",
		&semtok_beam_width, 0, 0, 1000000, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomIntVariable(
		"semtok.codebook_cache", "Memory for codebooks that a session keeps ready for reuse.",
		"It counts the codewords and the tables made of them to encode and search fast. Codebooks "
		"in use by a running query do not count.",
		&semtok_codebook_cache, 256 * 1024, 0, INT_MAX / 2, PGC_USERSET, GUC_UNIT_KB, NULL,
		AssignCodebookCache, NULL);
	DefineCustomIntVariable(
		"semtok.scorer_tokenizer", "Tokenizer that a function gives logits for; 0 names none.",
		"Set it on the function, by ALTER FUNCTION ... SET: beam_search_with reads it there, and "
		"refuses items of another tokenizer.",
		&semtok_scorer_tokenizer, 0, 0, INT_MAX, PGC_USERSET, 0, NULL, NULL, NULL);
	DefineCustomEnumVariable(
		"semtok.simd", "Vector unit that semtok computes with; auto takes the best there is.",
		"It changes how fast codes, codebooks and scores are computed, never what they are.",
		&semtok_simd, STK_SIMD_AUTO, simd_names, PGC_USERSET, 0, CheckSimd, NULL, NULL);
	DefineCustomIntVariable(
		"semtok.tokenizer_id_base", "Number above which this node's tokenizers get their ids.",
		"A multiple of 1000000, another one on every node between which tokenizers are copied: ids "
		"from base + 1 to base + 1000000 are then this node's alone.",
		&semtok_tokenizer_id_base, 0, 0, MAX_ID_BASE, PGC_SUSET, 0, CheckIdBase, NULL, NULL);
	SemtokDefineWorkerSettings();
	MarkGUCPrefixReserved("semtok");
}
