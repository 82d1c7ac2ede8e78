/* The engine of the processor's cores: core's own functions. */
#include <stdio.h>
#include <string.h>

#include "core/rq.h"
#include "engine/engine.h"
#include "engine/search_cpu.h"

#if defined(__x86_64__) || defined(__i386__)
#include <cpuid.h>
#else
#include <sys/utsname.h>
#endif

typedef struct cpu_engine
{
	stk_engine engine;
	stk_allocator a;
	stk_cpu cpu;
} cpu_engine;

struct stk_resident
{
	stk_rq *rq;
	stk_allocator a;
};

/* The trie that is searched is the set as it is stored. */
struct stk_resident_trie
{
	stk_semset set;
	stk_allocator a;
};

/* The caller's exec with this engine's vector unit. */
static stk_exec
exec_of(const stk_engine *e, const stk_exec *exec)
{
	stk_exec own = *exec;

	own.cpu = &((const cpu_engine *) e)->cpu;
	return own;
}

static void
cpu_unload(stk_engine *e, stk_resident *r)
{
	stk_allocator a = r->a;

	(void) e;
	stk_rq_free(r->rq);
	stk_free(&a, r);
}

static stk_status
cpu_load(stk_engine *e, const stk_exec *exec, const stk_codebook *cb, bool wide, stk_resident **out,
		 stk_error *err)
{
	stk_exec own = exec_of(e, exec);
	stk_resident *r = stk_alloc_array(&exec->a, 1, sizeof(stk_resident));
	stk_status status;

	*out = NULL;
	if (!r)
		return STK_ENOMEM;
	*r = (stk_resident){.rq = NULL, .a = exec->a};
	status = stk_rq_create(cb, &own, STK_FILTER_BEST, &r->rq, err);
	if (status == STK_OK && wide)
		status = stk_rq_prepare_beam(r->rq, &own);
	if (status == STK_OK)
		*out = r;
	else
		cpu_unload(e, r);
	return status;
}

static size_t
cpu_resident_bytes(const stk_resident *r)
{
	return sizeof(*r) + stk_rq_bytes(r->rq);
}

static stk_status
cpu_encode(stk_engine *e, const stk_exec *exec, const stk_resident *r, const float *x, size_t n,
		   int beam, uint16_t *codes, stk_error *err)
{
	stk_exec own = exec_of(e, exec);

	return stk_rq_encode(r->rq, &own, x, n, beam, codes, NULL, err);
}

static stk_status
cpu_train(stk_engine *e, const stk_exec *exec, const stk_train_plan *plan, const stk_rows *rows,
		  const stk_rows *heldout, void (*report)(void *ctx, const stk_train_report *r),
		  void *report_ctx, stk_train_result *result, stk_error *err)
{
	stk_exec own = exec_of(e, exec);

	return stk_train(plan, &own, rows, heldout, report, report_ctx, result, err);
}

static stk_status
cpu_trie_load(stk_engine *e, const stk_exec *exec, const uint8_t *stored, size_t bytes,
			  stk_resident_trie **out, stk_error *err)
{
	stk_resident_trie *t = stk_alloc_array(&exec->a, 1, sizeof(stk_resident_trie));
	stk_status status;

	(void) e;
	*out = NULL;
	if (!t)
		return STK_ENOMEM;
	t->a = exec->a;
	status = stk_semset_view(stored, bytes, &t->set, err);
	if (status == STK_OK)
		*out = t;
	else
		stk_free(&exec->a, t);
	return status;
}

static void
cpu_trie_unload(stk_engine *e, stk_resident_trie *t)
{
	stk_allocator a = t->a;

	(void) e;
	stk_free(&a, t);
}

static size_t
cpu_trie_bytes(const stk_resident_trie *t)
{
	return sizeof(*t);
}

static stk_status
cpu_search(stk_engine *e, const stk_exec *exec, const stk_resident_trie *t,
		   const stk_search_batch *b, stk_error *err)
{
	stk_exec own = exec_of(e, exec);

	return stk_search_cpu(&own, &t->set, b, err);
}

static void
cpu_close(stk_engine *e)
{
	stk_allocator a = ((cpu_engine *) e)->a;

	stk_free(&a, e);
}

static const stk_engine_ops cpu_ops = {.name = "cpu",
									   .load = cpu_load,
									   .unload = cpu_unload,
									   .resident_bytes = cpu_resident_bytes,
									   .encode = cpu_encode,
									   .train = cpu_train,
									   .trie_load = cpu_trie_load,
									   .trie_unload = cpu_trie_unload,
									   .trie_bytes = cpu_trie_bytes,
									   .search = cpu_search,
									   .close = cpu_close};

/* The processor's name, or its kind where it does not tell; printable, without blanks around it. */
static void
read_processor(char *name, size_t size)
{
	char raw[128] = "";
	size_t length = 0;

#if defined(__x86_64__) || defined(__i386__)
	unsigned int words[12] = {0};

	/* The brand string, in three parts. */
	for (unsigned int part = 0; part < 3; part++)
		__get_cpuid(0x80000002 + part, &words[4 * part], &words[4 * part + 1], &words[4 * part + 2],
					&words[4 * part + 3]);
	memcpy(raw, words, sizeof(words));
#else
	struct utsname machine;

	if (uname(&machine) == 0)
		snprintf(raw, sizeof(raw), "%s", machine.machine);
#endif
	for (const char *c = raw; *c && length + 1 < size; c++)
	{
		bool blank = *c <= ' ' || *c > '~';

		if (!blank)
			name[length++] = *c;
		else if (length > 0 && name[length - 1] != ' ')
			name[length++] = ' ';
	}
	if (length > 0 && name[length - 1] == ' ')
		length--;
	name[length] = '\0';
}

stk_status
stk_engine_cpu_open(const stk_allocator *a, stk_engine **out, stk_error *err)
{
	cpu_engine *e = stk_alloc_array(a, 1, sizeof(cpu_engine));
	char processor[64];
	stk_status status;

	*out = NULL;
	if (!e)
		return STK_ENOMEM;
	memset(e, 0, sizeof(*e));
	e->engine.ops = &cpu_ops;
	e->a = *a;
	status = stk_cpu_choose(STK_SIMD_AUTO, &e->cpu, err);
	if (status != STK_OK)
	{
		stk_free(a, e);
		return status;
	}
	read_processor(processor, sizeof(processor));
	snprintf(e->engine.device, sizeof(e->engine.device), "%s%s%s", stk_simd_name(e->cpu.simd),
			 processor[0] ? ", " : "", processor);
	*out = &e->engine;
	return STK_OK;
}
