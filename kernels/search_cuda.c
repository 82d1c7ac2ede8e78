#include "search_cuda.h"

#include <string.h>

/* Queries of a piece, at most: while one is searched, the next is on its way. */
#define PIECE_QUERIES 1024

struct stk_resident_trie
{
	stk_allocator a;
	stk_gpu *gpu;
	stk_device_trie trie;
	uint32_t *tokenizer; /* [roots] */
	stk_node *root;      /* [roots] */
};

/* A trie that cannot be there is no failure of the device. */
static stk_status
put(stk_gpu *gpu, const stk_packed_trie *here, const void *block, size_t bytes,
	stk_device_trie *out, stk_error *err)
{
	stk_status status = stk_gpu_use(gpu, err);

	if (status != STK_OK)
		return status;
	if (!stk_gpu_take(gpu, bytes))
		return stk_fail(err, STK_EDEVICE, "CUDA device %d: no room for a trie of %zu MB",
						gpu->number, bytes >> 20);
	status = stk_gpu_note(
		gpu, stk_device_trie_create(here, block, bytes, cudaStreamPerThread, out, err), err);
	if (status != STK_OK)
		stk_gpu_give(gpu, bytes);
	return status;
}

stk_status
stk_cuda_trie_load(stk_gpu *gpu, const stk_exec *exec, const uint8_t *stored, size_t bytes,
				   stk_resident_trie **out, stk_error *err)
{
	stk_resident_trie *t = stk_alloc_array(&exec->a, 1, sizeof(*t));
	stk_semset set;
	stk_packed_trie here;
	void *block = NULL;
	size_t packed;
	stk_status status = t ? stk_semset_view(stored, bytes, &set, err) : STK_ENOMEM;

	*out = NULL;
	if (t)
		memset(t, 0, sizeof(*t));
	if (status == STK_OK)
		status = stk_packed_trie_build(&set, &exec->a, exec->monitor, &block, &packed, &here, err);
	if (status == STK_ERANGE)
		status = STK_EDEVICE;
	if (status == STK_OK)
	{
		size_t roots = here.roots ? here.roots : 1;

		t->a = exec->a;
		t->gpu = gpu;
		t->tokenizer = stk_alloc_array(&exec->a, roots, sizeof(uint32_t));
		t->root = stk_alloc_array(&exec->a, roots, sizeof(stk_node));
		status = t->tokenizer && t->root ? STK_OK : STK_ENOMEM;
	}
	if (status == STK_OK)
	{
		memcpy(t->tokenizer, here.tokenizer, here.roots * sizeof(uint32_t));
		memcpy(t->root, here.root, here.roots * sizeof(stk_node));
		status = put(gpu, &here, block, packed, &t->trie, err);
	}
	stk_free(&exec->a, block);
	if (status == STK_OK)
		*out = t;
	else if (t)
	{
		stk_free(&exec->a, t->tokenizer);
		stk_free(&exec->a, t->root);
		stk_free(&exec->a, t);
	}
	return status;
}

void
stk_cuda_trie_unload(stk_resident_trie *t)
{
	stk_allocator a = t->a;

	/* A device that has failed is not asked for its memory back. */
	if (!atomic_load(&t->gpu->failed) && cudaSetDevice(t->gpu->number) == cudaSuccess)
	{
		size_t bytes = t->trie.bytes;

		stk_device_trie_free(&t->trie);
		stk_gpu_give(t->gpu, bytes);
	}
	stk_free(&a, t->tokenizer);
	stk_free(&a, t->root);
	stk_free(&a, t);
}

size_t
stk_cuda_trie_bytes(const stk_resident_trie *t)
{
	return sizeof(*t) + t->trie.bytes + t->trie.view.roots * (sizeof(uint32_t) + sizeof(stk_node));
}

/* Ids of a query that come back, at most: without longer ones below them no more than survive. */
static size_t
ids_of(const stk_search_batch *b)
{
	return b->width > b->levels || b->k < b->beam_size ? b->k : b->beam_size;
}

/* Where a piece's answers lie, in one piece, in codes and codes_here of a lane. */
typedef struct answers
{
	double *costs;    /* [n][k] */
	uint32_t *found;  /* [n] */
	uint16_t *codes;  /* [n][k][width] */
	uint8_t *lengths; /* [n][k] */
	uint8_t *dropped; /* [n] */
} answers;

static size_t
lay_out(void *memory, size_t n, const stk_search_batch *b, answers *a)
{
	size_t k = ids_of(b);
	size_t at = 0;

	a->costs = stk_take(memory, &at, n * k * sizeof(double));
	a->found = stk_take(memory, &at, n * sizeof(uint32_t));
	a->codes = stk_take(memory, &at, n * k * (size_t) b->width * sizeof(uint16_t));
	a->lengths = stk_take(memory, &at, n * k);
	a->dropped = stk_take(memory, &at, n);
	return at;
}

static size_t
term_bytes(const stk_search_batch *b)
{
	return b->norm == STK_NORM_MASKED ? sizeof(float) : sizeof(double);
}

/* Queries that a lane has room for, a power of two; 0: not for one. */
static size_t
piece_queries(const stk_search_batch *b)
{
	size_t one = stk_search_batch_terms(b) * term_bytes(b);
	size_t n = PIECE_QUERIES;
	answers a;

	while (n > 0 && (n * one > stk_lane_bytes() || lay_out(NULL, n, b, &a) > stk_lane_bytes() / 8 ||
					 stk_trie_search_bytes((uint32_t) n, b->levels, (uint32_t) b->beam_size) >
						 stk_lane_bytes()))
		n /= 2;
	return n;
}

bool
stk_cuda_takes_search(const stk_search_batch *b)
{
	return b->beam_size <= STK_STEP_MOST && piece_queries(b) > 0;
}

/* A batch on its way. */
typedef struct batch
{
	const stk_exec *exec;
	const stk_resident_trie *t;
	const stk_search_batch *b;
	stk_node start;
	size_t row; /* bytes of a query's terms */
	stk_lanes *lanes;
} batch;

/* As many queries as graphs are made for: the next power of two. */
static size_t
bucket_of(size_t n)
{
	size_t bucket = 1;

	while (bucket < n)
		bucket *= 2;
	return bucket;
}

static stk_status
send(const batch *s, stk_lane *l, size_t first, size_t n, stk_error *err)
{
	static const char doing[] = "send queries to the device";
	const stk_search_batch *b = s->b;
	const char *terms =
		b->norm == STK_NORM_MASKED ? (const char *) b->logits : (const char *) b->cost;
	stk_trie_search search;
	answers a;
	size_t bytes;
	stk_status status = stk_gpu_use(s->t->gpu, err);

	if (status != STK_OK)
		return status;
	/* Queries behind the last are whatever was there: nobody looks at what they find. */
	memset(&search, 0, sizeof(search));
	search.trie = s->t->trie.view;
	search.start = s->start;
	search.n = (uint32_t) bucket_of(n);
	search.levels = b->levels;
	memcpy(search.sizes, b->sizes, (size_t) b->levels * sizeof(uint32_t));
	search.norm = b->norm;
	search.width = (uint32_t) b->beam_size;
	search.k = (uint32_t) ids_of(b);
	search.length = b->width;
	if (b->norm == STK_NORM_MASKED)
		search.logits = l->x;
	else
		search.terms = (const double *) (const void *) l->x;
	search.memory = l->normalized;
	bytes = lay_out(l->codes, search.n, b, &a);
	search.costs = a.costs;
	search.found = a.found;
	search.codes = a.codes;
	search.lengths = a.lengths;
	search.dropped = a.dropped;

	stk_lane_copy(s->exec, l->x_here, terms + first * s->row, n * s->row);
	l->first = first;
	l->n = n;
	status = stk_cuda_status(
		cudaMemcpyAsync(l->x, l->x_here, n * s->row, cudaMemcpyHostToDevice, l->stream), doing,
		err);
	if (status == STK_OK)
		status = stk_trie_graphs_launch(&l->graphs, &search, l->stream, err);
	if (status == STK_OK)
		status = stk_cuda_status(
			cudaMemcpyAsync(l->codes_here, l->codes, bytes, cudaMemcpyDeviceToHost, l->stream),
			"copy ids from the device", err);
	return stk_gpu_note(s->t->gpu, status, err);
}

/* Put a query's ids to their places. */
static void
put_ids(const stk_search_batch *b, const answers *a, size_t from, size_t query)
{
	size_t k = ids_of(b);
	size_t width = (size_t) b->width;
	size_t found = a->found[from];
	size_t at = query * b->k;

	b->found[query] = (uint32_t) found;
	b->dropped[query] = found < b->k && a->dropped[from];
	memcpy(b->costs + at, a->costs + from * k, found * sizeof(double));
	memcpy(b->lengths + at, a->lengths + from * k, found);
	memcpy(b->codes + at * width, a->codes + from * k * width, found * width * sizeof(uint16_t));
}

static stk_status
receive(const batch *s, stk_lane *l, stk_error *err)
{
	answers a;
	stk_status status;

	if (l->n == 0)
		return STK_OK;
	status =
		stk_gpu_note(s->t->gpu, stk_gpu_wait(s->t->gpu, l->stream, s->exec->monitor, err), err);
	if (status != STK_OK)
		return status;
	(void) lay_out(l->codes_here, bucket_of(l->n), s->b, &a);
	for (size_t i = 0; i < l->n; i++)
		put_ids(s->b, &a, i, l->first + i);
	l->n = 0;
	return STK_OK;
}

/* Where ids of the tokenizer begin, or STK_NODE_NONE. */
static stk_node
root_of(const stk_resident_trie *t, uint32_t tokenizer)
{
	for (uint32_t r = 0; r < t->trie.view.roots; r++)
		if (t->tokenizer[r] == tokenizer)
			return t->root[r];
	return STK_NODE_NONE;
}

stk_status
stk_cuda_search(const stk_exec *exec, const stk_resident_trie *t, const stk_search_batch *b,
				stk_error *err)
{
	batch s = {.exec = exec, .t = t, .b = b, .start = root_of(t, b->tokenizer)};
	size_t each, piece = 0;
	stk_status status;

	if (b->width < t->trie.view.depth)
		return stk_fail(err, STK_EINVAL, "ids of %d codes do not fit where there is room for %d",
						t->trie.view.depth, b->width);
	/* No id is as long as the queries, or of this tokenizer. */
	if (t->trie.view.depth < b->levels || s.start == STK_NODE_NONE)
	{
		memset(b->found, 0, b->n * sizeof(uint32_t));
		memset(b->dropped, 0, b->n);
		return STK_OK;
	}
	s.row = stk_search_batch_terms(b) * term_bytes(b);
	status = stk_gpu_use(t->gpu, err);
	if (status != STK_OK)
		return status;
	/* By this device's size: steps on another may take less memory. */
	each = piece_queries(b);
	if (each == 0)
		return stk_fail(err, STK_EDEVICE, "CUDA device %d: queries are too large", t->gpu->number);
	status = stk_lanes_take(t->gpu, &s.lanes, err);
	if (status != STK_OK)
		return status;
	for (size_t first = 0; first < b->n && status == STK_OK; first += each, piece++)
	{
		stk_lane *l = &s.lanes->lane[piece % STK_CALL_LANES];

		if (stk_should_stop(exec->monitor))
			status = STK_ECANCELED;
		if (status == STK_OK)
			status = receive(&s, l, err);
		if (status == STK_OK)
			status = send(&s, l, first, b->n - first < each ? b->n - first : each, err);
	}
	for (int i = 0; i < STK_CALL_LANES && status == STK_OK; i++)
		status = receive(&s, &s.lanes->lane[i], err);
	stk_lanes_give(s.lanes);
	return status;
}
