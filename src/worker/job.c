#include "worker/job.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* The most that one system call moves. */
#define PIECE ((size_t) 1 << 30)

stk_job *
stk_job_create(struct stk_session *session, stk_message *m)
{
	stk_job *job = calloc(1, sizeof(*job));

	if (!job)
	{
		stk_message_free(m);
		return NULL;
	}
	job->session = session;
	job->message = *m;
	return job;
}

void
stk_job_free(stk_job *job)
{
	stk_message_free(&job->message);
	free(job->result);
	free(job->evaluations);
	free(job);
}

void
stk_job_fail(stk_job *job, stk_failure failure, stk_status status, const stk_error *err)
{
	free(job->result);
	job->result = NULL;
	job->answer = STK_MSG_FAILED;
	job->failed = (stk_failed){
		.failure = failure, .status = status, .row = UINT64_MAX, .level = err ? err->level : -1};
	if (err && err->row != SIZE_MAX)
		job->failed.row = err->row;
	if (err)
		memcpy(job->failed.message, err->message, sizeof(job->failed.message));
}

void
stk_job_fail_status(stk_job *job, stk_status status, const stk_error *err, uint64_t first_row)
{
	stk_failure failure = STK_FAILED_COMPUTATION;

	if (status == STK_ENOMEM)
		failure = STK_FAILED_MEMORY;
	else if (status == STK_EIO)
		failure = STK_FAILED_DATA;
	else if (status == STK_EDEVICE)
		failure = STK_FAILED_DEVICE;
	stk_job_fail(job, failure, status, err);
	if (job->failed.row != UINT64_MAX)
		job->failed.row += first_row;
}

stk_status
stk_job_read(const stk_job *job, const stk_data *d, uint64_t at, void *to, size_t bytes,
			 stk_error *err)
{
	char *out = to;

	if (!d->in_file)
	{
		if (bytes > 0)
			memcpy(out, d->inside + at, bytes);
		return STK_OK;
	}
	while (bytes > 0)
	{
		ssize_t r =
			pread(job->message.file, out, bytes < PIECE ? bytes : PIECE, (off_t) (d->offset + at));

		if (r < 0 && errno == EINTR)
			continue;
		if (r < 0)
			return stk_fail(err, STK_EIO, "could not read the request's file: %s", strerror(errno));
		if (r == 0)
			return stk_fail(err, STK_EIO, "the request's file is shorter than the request says");
		out += r;
		at += (uint64_t) r;
		bytes -= (size_t) r;
	}
	return STK_OK;
}

stk_status
stk_job_write(const stk_job *job, uint64_t at, const void *from, size_t bytes, stk_error *err)
{
	const char *in = from;

	if (job->message.file < 0)
		return stk_fail(err, STK_EIO, "the request has no file for its result");
	while (bytes > 0)
	{
		ssize_t w = pwrite(job->message.file, in, bytes < PIECE ? bytes : PIECE, (off_t) at);

		if (w < 0 && errno == EINTR)
			continue;
		if (w <= 0)
			return stk_fail(err, STK_EIO, "could not write to the request's file: %s",
							w < 0 ? strerror(errno) : "nothing was written");
		in += w;
		at += (uint64_t) w;
		bytes -= (size_t) w;
	}
	return STK_OK;
}
