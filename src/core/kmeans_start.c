/*
 * Initial centroids.
 *
 * k-means++ (Arthur and Vassilvitskii 2007) draws each centroid among the points with probability
 * proportional to the squared distance from the centroids so far. Bringing all distances up to
 * date for every draw means reading all rows K times. Here they are brought up to date for many
 * centroids at once, by the same filter and reference that assign rows, and draws in between are
 * corrected by rejection, which leaves the distribution what it was. Word by word:
 *
 *    d_i       squared distance of point i from the nearest centroid when distances were last
 *              brought up to date; 1 before the first centroid. The points are the rows, with
 *              weight 1 (k-means||: the candidates, with their weights)
 *    w_i       floor(weight_i d_i 2^e), with the one e that makes the largest at least
 *              2^(61 - b) and less than 2^(62 - b), b the bits of the number of points: integers,
 *              so that their sum has no order
 *    attempt t of centroid k: i is the point in which the running sum of w passes
 *              floor(random(step 2t, index k) sum / 2^64); it is taken where
 *              floor(random(step 2t + 1, index k) w_i / 2^64) < w'_i, and w'_i is w_i for the
 *              distance from all centroids so far
 *
 * Distances are brought up to date once as many centroids have been added as there were (and no
 * more than 1,024), after four rejections in a row, and after the first centroid. When all are 0,
 * every point is a centroid, and point floor(random(step 2t, index k) n / 2^64) repeats.
 *
 * k-means|| (Bahmani et al. 2012, "Scalable k-means++"): the first candidate is row
 * floor(random(step 2^16, index 0) n / 2^64). In each of five rounds, r = 1 to 5, every row i
 * becomes a candidate with probability 2 K w_i / sum: where floor(random(step 2^16 + r, index i)
 * sum / 2^64) < 2 K w_i. A candidate weighs as many rows as are nearest to it (the earlier one
 * among equals), and k-means++ on the candidates gives the centroids.
 */
#include <math.h>
#include <string.h>

#include "kmeans_impl.h"

/* Centroids drawn between two updates of the distances, at most. */
#define PENDING 1024
/* Rejections in a row that bring distances up to date. */
#define PATIENCE 4
/* k-means||: rounds, and where their steps begin. */
#define ROUNDS 5
#define ROUND_STEP 0x10000

/* What drawing by squared distance works on. */
typedef struct sampler
{
	const stk_exec *exec;
	const float *x;        /* [n][dim] points */
	const double *norms;   /* [n] their squared norms */
	const double *weights; /* [n]; NULL: all 1 */
	size_t n;
	size_t dim;
	double scale;      /* 2^e */
	double *distances; /* [n] */
	uint64_t *upto;    /* [n] running sums of the integers, each with its own */
	double *scores;    /* [n] scratch */
	uint16_t *codes;   /* [n] scratch */
} sampler;

static stk_status
sampler_init(sampler *s, const stk_exec *exec, const float *x, const double *norms,
			 const double *weights, size_t n, size_t dim)
{
	const stk_allocator *a = &exec->a;

	*s = (sampler){
		.exec = exec, .x = x, .norms = norms, .weights = weights, .n = n, .dim = dim, .scale = 1};
	s->distances = stk_alloc_array(a, n, sizeof(double));
	s->upto = stk_alloc_array(a, n, sizeof(uint64_t));
	s->scores = stk_alloc_array(a, n, sizeof(double));
	s->codes = stk_alloc_array(a, n, sizeof(uint16_t));
	if (!s->distances || !s->upto || !s->scores || !s->codes)
		return STK_ENOMEM;
	for (size_t i = 0; i < n; i++)
		s->distances[i] = 1;
	return STK_OK;
}

static void
sampler_free(sampler *s)
{
	const stk_allocator *a = &s->exec->a;

	stk_free(a, s->distances);
	stk_free(a, s->upto);
	stk_free(a, s->scores);
	stk_free(a, s->codes);
}

/* A point's integer at this distance. */
static inline uint64_t
share(const sampler *s, size_t i, double distance)
{
	double weighed = s->weights ? s->weights[i] * distance : distance;

	return (uint64_t) (weighed * s->scale);
}

static inline uint64_t
total(const sampler *s)
{
	return s->upto[s->n - 1];
}

/* Make integers of the distances. */
static void
weigh(sampler *s)
{
	double largest = 0;
	uint64_t sum = 0;
	int exponent;
	int count_bits = 0;

	for (size_t i = 0; i < s->n; i++)
	{
		double weighed = s->weights ? s->weights[i] * s->distances[i] : s->distances[i];

		if (weighed > largest)
			largest = weighed;
	}
	for (size_t i = s->n; i > 0; i >>= 1)
		count_bits++;
	frexp(largest, &exponent);
	s->scale = ldexp(1, 62 - count_bits - exponent);
	for (size_t i = 0; i < s->n; i++)
		s->upto[i] = sum += share(s, i, s->distances[i]);
}

/*
 * Bring distances up to date for new centroids c [size][dim]. Where nearest is not NULL, points
 * closer to one of them than to any before take first + its number there.
 */
static stk_status
approach(sampler *s, const float *c, uint32_t size, uint32_t *nearest, uint32_t first)
{
	stk_pack p;
	stk_status status = stk_pack_init(&p, s->exec, STK_FILTER_BEST, true, size, s->dim, false);

	if (status != STK_OK)
		return status;
	stk_pack_fill(&p, c);
	status = stk_nearest_rows(s->exec, &p, s->x, s->n, s->codes, s->scores, NULL);
	stk_pack_free(&p);
	if (status != STK_OK)
		return status;
	for (size_t i = 0; i < s->n; i++)
	{
		double d = stk_squared_distance(s->norms[i], s->scores[i]);

		if (first > 0 && !(d < s->distances[i]))
			continue;
		s->distances[i] = d;
		if (nearest)
			nearest[i] = first + s->codes[i];
	}
	return STK_OK;
}

/* The point in which the running sum passes target. */
static size_t
find(const sampler *s, uint64_t target)
{
	size_t low = 0;
	size_t high = s->n - 1;

	while (low < high)
	{
		size_t mid = low + (high - low) / 2;

		if (s->upto[mid] > target)
			high = mid;
		else
			low = mid + 1;
	}
	return low;
}

/* Centroids drawn since distances were brought up to date. */
typedef struct pending
{
	uint32_t count;
	const float *points[PENDING];
	double half[PENDING]; /* half squared norms */
	double dots[PENDING];
} pending;

/* Squared distance of point i from its nearest centroid, the pending ones too. */
static double
distance_now(const sampler *s, pending *p, size_t i)
{
	double d = s->distances[i];

	s->exec->cpu->reference->dots(s->x + i * s->dim, p->points, p->count, s->dim, p->dots);
	for (uint32_t j = 0; j < p->count; j++)
	{
		double to = stk_squared_distance(s->norms[i], p->half[j] - p->dots[j]);

		d = to < d ? to : d;
	}
	return d;
}

/* Draw centroids [size][dim] among the sampler's points. */
static stk_status
draw_centroids(sampler *s, pending *p, float *centroids, uint32_t size, uint64_t seed, int level)
{
	uint32_t current = 0; /* centroids that the distances know of */
	uint32_t rejected = 0;
	uint32_t attempt = 0;

	weigh(s);
	p->count = 0;
	for (uint32_t k = 0; k < size;)
	{
		uint64_t where = stk_random(seed, STK_RANDOM_INIT, level, 2 * attempt, k);
		uint64_t whether = stk_random(seed, STK_RANDOM_INIT, level, 2 * attempt + 1, k);
		size_t i;

		if (stk_should_stop(s->exec->monitor))
			return STK_ECANCELED;
		if (p->count == PENDING || (p->count > 0 && p->count >= current) || rejected == PATIENCE)
		{
			stk_status status = approach(s, centroids + current * s->dim, p->count, NULL, current);

			if (status != STK_OK)
				return status;
			weigh(s);
			current += p->count;
			p->count = rejected = 0;
		}
		attempt++;
		if (total(s) == 0)
			i = (size_t) stk_below(where, s->n);
		else
		{
			uint64_t stale;

			i = find(s, stk_below(where, total(s)));
			stale = share(s, i, s->distances[i]);
			if (p->count > 0 && stk_below(whether, stale) >= share(s, i, distance_now(s, p, i)))
			{
				rejected++;
				continue;
			}
		}
		memcpy(centroids + k * s->dim, s->x + i * s->dim, s->dim * sizeof(float));
		p->points[p->count] = s->x + i * s->dim;
		p->half[p->count++] = 0.5 * s->norms[i];
		k++;
		attempt = rejected = 0;
	}
	return STK_OK;
}

static stk_status
kmeanspp(const stk_exec *exec, const float *x, const double *norms, const double *weights, size_t n,
		 stk_kmeans *km, uint64_t seed, int level)
{
	sampler s;
	pending *p = stk_alloc_array(&exec->a, 1, sizeof(pending));
	stk_status status = sampler_init(&s, exec, x, norms, weights, n, km->dim);

	if (!p)
		status = STK_ENOMEM;
	if (status == STK_OK)
		status = draw_centroids(&s, p, km->centroids, km->size, seed, level);
	sampler_free(&s);
	stk_free(&exec->a, p);
	return status;
}

/* What k-means|| gathers. */
typedef struct candidates
{
	size_t count;
	size_t room;
	size_t *rows;      /* [room] */
	uint32_t *nearest; /* [n] the candidate nearest to each row */
	float *block;      /* [PENDING][dim] some of them side by side */
} candidates;

static stk_status
add_candidate(candidates *c, const stk_allocator *a, size_t row)
{
	if (c->count == c->room)
	{
		size_t room = 2 * c->room + 64;
		size_t *rows = stk_realloc_array(a, c->rows, room, sizeof(size_t));

		if (!rows)
			return STK_ENOMEM;
		c->rows = rows;
		c->room = room;
	}
	c->rows[c->count++] = row;
	return STK_OK;
}

/* Bring distances up to date for the candidates from `first` on. */
static stk_status
approach_candidates(sampler *s, candidates *c, size_t first)
{
	stk_status status = STK_OK;

	for (; first < c->count && status == STK_OK; first += PENDING)
	{
		size_t n = c->count - first < PENDING ? c->count - first : PENDING;

		for (size_t j = 0; j < n; j++)
			memcpy(c->block + j * s->dim, s->x + c->rows[first + j] * s->dim,
				   s->dim * sizeof(float));
		status = approach(s, c->block, (uint32_t) n, c->nearest, (uint32_t) first);
	}
	return status;
}

/* The rounds of k-means||. */
static stk_status
gather_candidates(sampler *s, candidates *c, uint32_t size, uint64_t seed, int level)
{
	const stk_allocator *a = &s->exec->a;
	uint64_t bits = stk_random(seed, STK_RANDOM_INIT, level, ROUND_STEP, 0);
	size_t first = 0;
	stk_status status = add_candidate(c, a, (size_t) stk_below(bits, s->n));

	for (uint32_t round = 1; status == STK_OK; round++)
	{
		status = approach_candidates(s, c, first);
		first = c->count;
		if (round > ROUNDS || status != STK_OK)
			break;
		weigh(s);
		for (size_t i = 0; i < s->n && status == STK_OK && total(s) > 0; i++)
		{
			uint64_t w = share(s, i, s->distances[i]);

			bits = stk_random(seed, STK_RANDOM_INIT, level, ROUND_STEP + round, i);
			/* 2 K w > sum means always, and 2 K w may not fit. */
			if (w > total(s) / (2 * (uint64_t) size) ||
				stk_below(bits, total(s)) < 2 * (uint64_t) size * w)
				status = add_candidate(c, a, i);
		}
	}
	return status;
}

/* k-means++ on the candidates, each weighing the rows nearest to it. */
static stk_status
choose_among(const sampler *s, const candidates *c, stk_kmeans *km, uint64_t seed, int level)
{
	const stk_allocator *a = &s->exec->a;
	float *points = stk_alloc_array(a, c->count, s->dim * sizeof(float));
	double *norms = stk_alloc_array(a, c->count, sizeof(double));
	double *weights = stk_alloc_array(a, c->count, sizeof(double));
	stk_status status = STK_ENOMEM;

	if (points && norms && weights)
	{
		for (size_t j = 0; j < c->count; j++)
		{
			memcpy(points + j * s->dim, s->x + c->rows[j] * s->dim, s->dim * sizeof(float));
			norms[j] = s->norms[c->rows[j]];
			weights[j] = 0;
		}
		for (size_t i = 0; i < s->n; i++)
			weights[c->nearest[i]]++;
		status = kmeanspp(s->exec, points, norms, weights, c->count, km, seed, level);
	}
	stk_free(a, points);
	stk_free(a, norms);
	stk_free(a, weights);
	return status;
}

static stk_status
kmeansii(const stk_exec *exec, const float *x, const double *norms, size_t n, stk_kmeans *km,
		 uint64_t seed, int level)
{
	const stk_allocator *a = &exec->a;
	candidates c = {.count = 0};
	sampler s;
	stk_status status = sampler_init(&s, exec, x, norms, NULL, n, km->dim);

	c.nearest = stk_alloc_array(a, n, sizeof(uint32_t));
	c.block = stk_alloc_array(a, PENDING, km->dim * sizeof(float));
	if (!c.nearest || !c.block)
		status = STK_ENOMEM;
	if (status == STK_OK)
		status = gather_candidates(&s, &c, km->size, seed, level);
	if (status == STK_OK)
		status = choose_among(&s, &c, km, seed, level);
	sampler_free(&s);
	stk_free(a, c.rows);
	stk_free(a, c.nearest);
	stk_free(a, c.block);
	return status;
}

static void
start_random(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n, uint64_t seed, int level)
{
	size_t dim = km->dim;
	size_t distinct = n < km->size ? n : km->size;

	stk_random_order(w->members.rows, n, distinct, seed, STK_RANDOM_INIT, level, 0);
	for (uint32_t k = 0; k < km->size; k++)
	{
		size_t row = w->members.rows[k % distinct];

		memcpy(km->centroids + k * dim, x + row * dim, dim * sizeof(float));
	}
}

stk_status
stk_kmeans_start(stk_kmeans *km, stk_kmeans_work *w, const float *x, size_t n, stk_init init,
				 uint64_t seed, int level)
{
	stk_status status = stk_kmeans_measure(w, x, n, km->dim);

	if (status == STK_OK && init == STK_INIT_KMEANSPP)
		status = kmeanspp(&w->exec, x, w->norms, NULL, n, km, seed, level);
	else if (status == STK_OK && init == STK_INIT_KMEANSII)
		status = kmeansii(&w->exec, x, w->norms, n, km, seed, level);
	else if (status == STK_OK)
		start_random(km, w, x, n, seed, level);
	for (uint32_t k = 0; k < km->size; k++)
		km->counts[k] = 0;
	return status;
}
