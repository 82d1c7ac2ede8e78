/*
 * Searches: the queries of one job or of several, in one call of the engine where they fit.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "worker/faults.h"
#include "worker/found.h"
#include "worker/launch_impl.h"

/* Queries in memory: terms and what is found, as a batch. */
typedef struct piece
{
	stk_search_batch b;
	uint64_t row; /* bytes of a query's terms */
	void *terms;  /* [room] rows */
	void *found;  /* of stk_found_bytes of `room` queries */
} piece;

/* Room for so many queries like the job's. */
static stk_status
begin_piece(launch_run *r, const stk_job *job, uint64_t room, piece *p)
{
	const stk_search_message *m = &job->search;

	*p = (piece){.b = {.levels = m->levels,
					   .tokenizer = m->tokenizer,
					   .norm = m->norm,
					   .beam_size = m->beam_size,
					   .k = m->k,
					   .width = m->width},
				 .row = stk_search_row_bytes(m)};
	memcpy(p->b.sizes, m->sizes, sizeof(p->b.sizes));
	p->terms = stk_alloc_array(&r->exec.a, room, p->row);
	p->found = stk_alloc_array(&r->exec.a, stk_found_bytes(room, m->k, m->width), 1);
	if (m->norm == STK_NORM_MASKED)
		p->b.logits = p->terms;
	else
		p->b.cost = p->terms;
	return p->terms && p->found ? STK_OK : STK_ENOMEM;
}

static void
end_piece(launch_run *r, piece *p)
{
	stk_free(&r->exec.a, p->terms);
	stk_free(&r->exec.a, p->found);
}

/* Are all terms ones that a search takes? +infinity is a cost, -infinity a logit: never. */
static stk_status
check_terms(const piece *p, uint64_t n, stk_error *err)
{
	size_t terms = stk_search_batch_terms(&p->b);

	for (uint64_t i = 0; i < n; i++)
		for (size_t j = i * terms; j < (i + 1) * terms; j++)
			if (p->b.norm == STK_NORM_MASKED ? !(p->b.logits[j] < INFINITY)
											 : !(p->b.cost[j] > -INFINITY))
			{
				if (err)
					err->row = i;
				return stk_fail(err, STK_EINVAL, "a term of query %llu is not valid",
								(unsigned long long) i);
			}
	return STK_OK;
}

/* Read n queries of a job, from the first-th on, as those from the at-th on of a piece. */
static stk_status
read_queries(const stk_job *job, uint64_t first, uint64_t n, piece *p, uint64_t at, stk_error *err)
{
	return stk_job_read(job, &job->search.terms, first * p->row, (char *) p->terms + at * p->row,
						n * p->row, err);
}

/* Search by an engine for the n queries of a piece. */
static stk_status
search_by(launch_run *r, stk_engine *e, piece *p, uint64_t n, stk_error *err)
{
	const stk_resident_trie *trie;
	stk_status status = stk_cache_trie(r->shop->cache, r->launch->pin, e, &r->exec, &trie, err);

	p->b.n = n;
	stk_found_arrays(p->found, &p->b);
	/* What lies beyond the ids found is not to be what was in this memory before. */
	memset(p->found, 0, stk_found_bytes(n, p->b.k, p->b.width));
	if (status == STK_OK)
		status = e->ops->search(e, &r->exec, trie, &p->b, err);
	return status;
}

static stk_status
search(launch_run *r, stk_device wanted, piece *p, uint64_t n, stk_error *err)
{
	stk_error why = {.row = SIZE_MAX, .level = -1};
	stk_status status = check_terms(p, n, &why);

	STK_FAULT(STK_STEP_COMPUTE, STK_MSG_SEARCH, false);
	if (status == STK_OK)
		status = search_by(r, r->launch->engine, p, n, &why);
	if (status == STK_EDEVICE && launch_falls_back(r, wanted, &why))
		status = search_by(r, r->shop->cores, p, n, &why);
	if (err)
		*err = why;
	STK_FAULT(STK_STEP_COMPUTED, STK_MSG_SEARCH, false);
	if (status == STK_OK)
		STK_FAULT_RESULT(STK_MSG_SEARCH, p->found, stk_found_bytes(n, p->b.k, p->b.width));
	return status;
}

/* Write bytes to a place of the job's answer. */
static stk_status
put_bytes(stk_job *job, uint64_t at, const void *from, size_t bytes, stk_error *err)
{
	if (job->result)
	{
		memcpy(job->result + at, from, bytes);
		return STK_OK;
	}
	if (STK_FAULT_DISK())
		return stk_fail(err, STK_EIO, "no space left on device");
	return stk_job_write(job, job->search.found_at + at, from, bytes, err);
}

/* A piece's n queries from the at-th on are the job's from the first-th on: write what they found. */
static stk_status
put_found(stk_job *job, uint64_t first, uint64_t n, const piece *p, uint64_t at, stk_error *err)
{
	const stk_search_message *m = &job->search;
	stk_found_layout to = stk_found_layout_of(m->n, m->k, m->width);
	uint64_t k = m->k, codes = k * (uint64_t) m->width;
	const stk_search_batch *b = &p->b;
	stk_status status = put_bytes(job, to.costs + first * k * sizeof(double), b->costs + at * k,
								  n * k * sizeof(double), err);

	if (status == STK_OK)
		status = put_bytes(job, to.codes + first * codes * sizeof(uint16_t), b->codes + at * codes,
						   n * codes * sizeof(uint16_t), err);
	if (status == STK_OK)
		status = put_bytes(job, to.lengths + first * k, b->lengths + at * k, n * k, err);
	if (status == STK_OK)
		status = put_bytes(job, to.found + first * sizeof(uint32_t), b->found + at,
						   n * sizeof(uint32_t), err);
	if (status == STK_OK)
		status = put_bytes(job, to.dropped + first, b->dropped + at, n, err);
	return status;
}

/* Make room for an answer that goes inside. */
static stk_status
begin_found(stk_job *job)
{
	const stk_search_message *m = &job->search;

	job->result_bytes = stk_found_bytes(m->n, m->k, m->width);
	if (job->result_bytes > STK_INLINE_MAX || job->result)
		return STK_OK;
	job->result = calloc(job->result_bytes, 1);
	return job->result ? STK_OK : STK_ENOMEM;
}

/* Search for one job's queries, in pieces. False: memory ran out. */
static bool
search_one(launch_run *r, stk_job *job)
{
	const stk_search_message *m = &job->search;
	uint64_t room = stk_launch_piece(r->shop, job);
	uint64_t first = 0;
	stk_error err = {.row = SIZE_MAX, .level = -1};
	piece p = {.terms = NULL};
	stk_status status = begin_found(job);

	room = room < m->n ? room : m->n;
	if (status == STK_OK)
		status = begin_piece(r, job, room, &p);
	while (status == STK_OK && first < m->n)
	{
		uint64_t n = m->n - first < room ? m->n - first : room;

		status = launch_stops(r->launch) ? STK_ECANCELED : STK_OK;
		if (status == STK_OK)
			status = read_queries(job, first, n, &p, 0, &err);
		if (status == STK_OK)
			status = search(r, m->device, &p, n, &err);
		if (status == STK_OK)
			status = put_found(job, first, n, &p, 0, &err);
		if (status == STK_OK)
			first += n;
	}
	end_piece(r, &p);
	if (status == STK_ENOMEM)
		return false;
	if (status == STK_OK)
		job->answer = STK_MSG_FOUND;
	else
		stk_job_fail_status(job, status, &err, first);
	return true;
}

/* Search for all jobs' queries in one call. False: they are to be done one by one. */
static bool
search_together(launch_run *r)
{
	stk_launch *l = r->launch;
	uint64_t at = 0;
	piece p;
	bool done = begin_piece(r, l->jobs, l->rows, &p) == STK_OK;

	for (stk_job *job = l->jobs; job && done; job = job->next)
	{
		done = begin_found(job) == STK_OK &&
			   read_queries(job, 0, job->search.n, &p, at, NULL) == STK_OK;
		at += job->search.n;
	}
	done = done && search(r, l->jobs->search.device, &p, l->rows, NULL) == STK_OK;
	at = 0;
	for (stk_job *job = l->jobs; job && done; job = job->next)
	{
		done = put_found(job, 0, job->search.n, &p, at, NULL) == STK_OK;
		at += job->search.n;
	}
	end_piece(r, &p);
	for (stk_job *job = l->jobs; job && done; job = job->next)
		job->answer = STK_MSG_FOUND;
	return done;
}

void
launch_search(launch_run *r)
{
	stk_launch *l = r->launch;

	/* What fails together is repeated job by job: an error is then about the right one's query. */
	if (l->njobs > 1 && search_together(r))
		return;
	for (stk_job *job = l->jobs; job && !l->no_room; job = job->next)
		l->no_room = !search_one(r, job);
}
