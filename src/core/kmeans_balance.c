/* A cap on the rows of a centroid, by deferred acceptance. */
#include <string.h>

#include "kmeans_impl.h"

/* Centroids on a row's list; when all have sent it on, the next ones are found. */
#define LIST 16
/* Centroids scored at once. */
#define BLOCK 256
/* Proposals between two looks at the monitor. */
#define LOOK 1024
/* "No row" and "no list". */
#define NONE SIZE_MAX

typedef struct offer
{
	double score;
	uint32_t code;
} offer;

/* Where a row that was sent on goes next. */
typedef struct list
{
	size_t row;
	uint32_t next;
	uint32_t count;
	offer offers[LIST]; /* in the order of proposals */
} list;

/*
 * The rows that each centroid holds, in skew heaps with the one it would send on first on top
 * (Sleator and Tarjan 1986, "Self-adjusting heaps").
 */
typedef struct balance
{
	const stk_kmeans *km;
	stk_kmeans_work *w;
	const float *x;
	uint16_t *codes;
	size_t cap;
	size_t (*children)[2]; /* [n] */
	size_t *top;           /* [size] */
	size_t *held;          /* [size] */
	size_t *list_of;       /* [n] place in lists */
	list *lists;
	size_t count;
	size_t room;
	size_t *waiting; /* [n] rows that have been sent on and need a list */
	size_t waits;
	size_t proposals; /* made so far */
	uint8_t *stopped; /* [threads] */
} balance;

/* What a centroid goes by: the row's squared distance from it, or its dot product. */
static inline double
rank_of(const balance *b, size_t row)
{
	double s = b->w->scores[row];

	return b->km->inner_product ? s : b->w->norms[row] + 2 * s;
}

/* Would a centroid that holds both send row i on before row j? */
static inline bool
worse(const balance *b, size_t i, size_t j)
{
	double p = rank_of(b, i);
	double q = rank_of(b, j);

	return p != q ? p > q : i > j;
}

/* Merge two heaps: along their right paths, whose nodes swap their children. */
static size_t
merge(balance *b, size_t i, size_t j)
{
	size_t top = NONE;
	size_t *link = &top;

	while (i != NONE && j != NONE)
	{
		size_t right;

		if (worse(b, j, i))
		{
			size_t other = i;

			i = j;
			j = other;
		}
		*link = i;
		right = b->children[i][1];
		b->children[i][1] = b->children[i][0];
		link = &b->children[i][0];
		i = right;
	}
	*link = i != NONE ? i : j;
	return top;
}

/* Centroid k takes a row in; *sent out, the one it sends on, or NONE. STK_ECANCELED. */
static stk_status
propose(balance *b, size_t row, uint32_t k, size_t *sent)
{
	size_t worst;

	if (b->proposals++ % LOOK == 0 && stk_should_stop(b->w->exec.monitor))
		return STK_ECANCELED;
	*sent = NONE;
	b->children[row][0] = b->children[row][1] = NONE;
	b->top[k] = merge(b, b->top[k], row);
	if (++b->held[k] <= b->cap)
		return STK_OK;
	worst = b->top[k];
	b->top[k] = merge(b, b->children[worst][0], b->children[worst][1]);
	b->held[k]--;
	*sent = worst;
	return STK_OK;
}

/* Does offer p come before q in a row's order? */
static inline bool
before(offer p, offer q)
{
	return p.score != q.score ? p.score < q.score : p.code < q.code;
}

/* Put the LIST best offers behind `last` on the list. */
static bool
fill_list(const balance *b, list *to, offer last)
{
	const stk_pack *p = &b->w->pack;
	const float *rows[BLOCK];
	double dots[BLOCK];

	to->next = to->count = 0;
	for (uint32_t first = 0; first < p->size; first += BLOCK)
	{
		uint32_t n = p->size - first < BLOCK ? p->size - first : BLOCK;

		if (stk_should_stop(b->w->exec.monitor))
			return false;
		for (uint32_t j = 0; j < n; j++)
			rows[j] = p->codewords + (first + j) * p->dim;
		p->cpu->reference->dots(b->x + to->row * p->dim, rows, n, p->dim, dots);
		for (uint32_t j = 0; j < n; j++)
		{
			offer o = {stk_pack_half(p, first + j) - dots[j], first + j};
			uint32_t at = to->count;

			if (!before(last, o) || (at == LIST && !before(o, to->offers[LIST - 1])))
				continue;
			if (at == LIST)
				at--;
			else
				to->count++;
			for (; at > 0 && before(o, to->offers[at - 1]); at--)
				to->offers[at] = to->offers[at - 1];
			to->offers[at] = o;
		}
	}
	return true;
}

static void
list_task(void *arg, size_t index, int thread)
{
	const balance *b = arg;
	size_t row = b->waiting[index];
	offer last = {b->w->scores[row], b->codes[row]};

	if (!b->stopped[thread])
		b->stopped[thread] = !fill_list(b, &b->lists[b->list_of[row]], last);
}

/* Give every waiting row a list, or a new one that goes on where the old one ended. */
static stk_status
make_lists(balance *b)
{
	const stk_exec *exec = &b->w->exec;
	int threads = stk_threads(exec->pool);

	for (size_t i = 0; i < b->waits; i++)
	{
		if (b->list_of[b->waiting[i]] != NONE)
			continue;
		if (b->count == b->room)
		{
			size_t room = b->room + b->room / 2 + b->waits;
			list *lists = stk_realloc_array(&exec->a, b->lists, room, sizeof(list));

			if (!lists)
				return STK_ENOMEM;
			b->lists = lists;
			b->room = room;
		}
		b->lists[b->count].row = b->waiting[i];
		b->list_of[b->waiting[i]] = b->count++;
	}
	memset(b->stopped, 0, (size_t) threads);
	stk_run(exec->pool, list_task, b, b->waits);
	for (int t = 0; t < threads; t++)
	{
		if (b->stopped[t])
			return STK_ECANCELED;
	}
	return STK_OK;
}

/* Send a row on until a centroid has room for it or whom it displaces, or somebody's list ends. */
static stk_status
send_on(balance *b, size_t row)
{
	stk_status status = STK_OK;

	while (row != NONE && status == STK_OK)
	{
		list *l = b->list_of[row] == NONE ? NULL : &b->lists[b->list_of[row]];
		offer o;

		if (!l || l->next == l->count)
		{
			b->waiting[b->waits++] = row;
			break;
		}
		o = l->offers[l->next++];
		b->codes[row] = (uint16_t) o.code;
		b->w->scores[row] = o.score;
		status = propose(b, row, o.code, &row);
	}
	return status;
}

/* Do more than `cap` rows have one code? */
static bool
any_overfull(balance *b, size_t n)
{
	bool any = false;

	memset(b->held, 0, b->km->size * sizeof(size_t));
	for (size_t i = 0; i < n; i++)
		any |= ++b->held[b->codes[i]] > b->cap;
	return any;
}

static stk_status
relocate(balance *b, size_t n)
{
	stk_status status = STK_OK;

	if (!any_overfull(b, n))
		return STK_OK;
	for (uint32_t k = 0; k < b->km->size; k++)
	{
		b->top[k] = NONE;
		b->held[k] = 0;
	}
	for (size_t i = 0; i < n && status == STK_OK; i++)
	{
		size_t sent = NONE;

		b->list_of[i] = NONE;
		status = propose(b, i, b->codes[i], &sent);
		if (sent != NONE)
			b->waiting[b->waits++] = sent;
	}
	while (b->waits > 0 && status == STK_OK)
	{
		size_t waits = b->waits;

		status = make_lists(b);
		/* A row sent on without a list takes a place that has been read already. */
		b->waits = 0;
		for (size_t i = 0; i < waits && status == STK_OK; i++)
			status = send_on(b, b->waiting[i]);
	}
	return status;
}

stk_status
stk_kmeans_balance(const stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n, size_t cap,
				   uint16_t *codes, double *error)
{
	const stk_allocator *a = &w->exec.a;
	size_t size = km->size;
	balance b = {.km = km, .w = w, .x = x, .codes = codes, .cap = cap};
	stk_status status = STK_ENOMEM;

	/* Some row would be sent on for ever. */
	if (cap < n / size + (n % size > 0))
		return STK_EINVAL;
	b.children = stk_alloc_array(a, n, sizeof(*b.children));
	b.top = stk_alloc_array(a, size, sizeof(size_t));
	b.held = stk_alloc_array(a, size, sizeof(size_t));
	b.list_of = stk_alloc_array(a, n, sizeof(size_t));
	b.waiting = stk_alloc_array(a, n, sizeof(size_t));
	b.stopped = stk_alloc_array(a, (size_t) stk_threads(w->exec.pool), 1);
	if (b.children && b.top && b.held && b.list_of && b.waiting && b.stopped)
		status = relocate(&b, n);
	if (status == STK_OK)
		*error = stk_kmeans_error(km, w, n, codes);
	stk_free(a, b.children);
	stk_free(a, b.top);
	stk_free(a, b.held);
	stk_free(a, b.list_of);
	stk_free(a, b.lists);
	stk_free(a, b.waiting);
	stk_free(a, b.stopped);
	return status;
}
