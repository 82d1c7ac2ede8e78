#include "codebook.h"

#include <math.h>
#include <string.h>

/* version, metric, levels, dim */
#define FIXED_HEADER 8

static const char *const metric_names[] = {"l2", "ip", "cosine"};

#define METRICS (sizeof(metric_names) / sizeof(metric_names[0]))

stk_status
stk_metric_parse(const char *name, stk_metric *metric)
{
	for (size_t i = 0; i < METRICS; i++)
	{
		if (strcmp(name, metric_names[i]) == 0)
		{
			*metric = (stk_metric) i;
			return STK_OK;
		}
	}
	return STK_EINVAL;
}

const char *
stk_metric_name(stk_metric metric)
{
	return metric_names[metric];
}

static size_t
header_bytes(int levels)
{
	return FIXED_HEADER + 4 * (size_t) levels;
}

size_t
stk_codebook_bytes(int levels, const uint32_t *sizes, int dim)
{
	uint64_t codes = 0;
	uint64_t bytes;

	if (levels < 1 || levels > STK_MAX_LEVELS || dim < 1 || dim > STK_MAX_DIM)
		return 0;
	for (int l = 0; l < levels; l++)
	{
		if (sizes[l] < 1 || sizes[l] > STK_MAX_CODES)
			return 0;
		codes += sizes[l];
	}
	bytes = header_bytes(levels) + 4 * codes * (uint64_t) dim;
	return bytes <= SIZE_MAX / 2 ? (size_t) bytes : 0;
}

size_t
stk_codebook_write_header(uint8_t *out, stk_metric metric, int levels, const uint32_t *sizes,
						  int dim)
{
	uint16_t levels16 = (uint16_t) levels;
	uint32_t dim32 = (uint32_t) dim;

	out[0] = STK_CODEBOOK_VERSION;
	out[1] = (uint8_t) metric;
	memcpy(out + 2, &levels16, 2);
	memcpy(out + 4, &dim32, 4);
	memcpy(out + FIXED_HEADER, sizes, 4 * (size_t) levels);
	return header_bytes(levels);
}

stk_status
stk_codebook_read_shape(const uint8_t *bytes, size_t len, stk_codebook *cb, stk_error *err)
{
	uint16_t levels;
	uint32_t dim;

	if (len < FIXED_HEADER)
		return stk_fail(err, STK_ECORRUPT, "codebook is cut off");
	if (bytes[0] != STK_CODEBOOK_VERSION)
		return stk_fail(err, STK_ECORRUPT, "codebook has format version %d, expected %d", bytes[0],
						STK_CODEBOOK_VERSION);
	if (bytes[1] >= METRICS)
		return stk_fail(err, STK_ECORRUPT, "codebook has unknown metric %d", bytes[1]);
	memcpy(&levels, bytes + 2, 2);
	memcpy(&dim, bytes + 4, 4);
	if (levels < 1 || levels > STK_MAX_LEVELS)
		return stk_fail(err, STK_ECORRUPT, "codebook has %u levels, expected 1 to %d",
						(unsigned int) levels, STK_MAX_LEVELS);
	if (dim < 1 || dim > STK_MAX_DIM)
		return stk_fail(err, STK_ECORRUPT, "codebook has %u dimensions, expected 1 to %d", dim,
						STK_MAX_DIM);
	if (len < header_bytes(levels))
		return stk_fail(err, STK_ECORRUPT, "codebook is cut off");

	memset(cb, 0, sizeof(*cb));
	cb->metric = (stk_metric) bytes[1];
	cb->levels = levels;
	cb->dim = (int) dim;
	memcpy(cb->sizes, bytes + FIXED_HEADER, 4 * (size_t) levels);
	for (int l = 0; l < levels; l++)
	{
		if (cb->sizes[l] < 1 || cb->sizes[l] > STK_MAX_CODES)
			return stk_fail(err, STK_ECORRUPT,
							"level %d of the codebook has size %u, expected 1 to %d", l,
							cb->sizes[l], STK_MAX_CODES);
	}
	return STK_OK;
}

stk_status
stk_codebook_view(const uint8_t *bytes, size_t len, stk_codebook *cb, stk_error *err)
{
	stk_status status = stk_codebook_read_shape(bytes, len, cb, err);
	size_t expected;
	const float *codewords;

	if (status != STK_OK)
		return status;
	expected = stk_codebook_bytes(cb->levels, cb->sizes, cb->dim);
	if (len != expected)
		return stk_fail(err, STK_ECORRUPT, "codebook has %zu bytes, expected %zu", len, expected);

	codewords = (const float *) (const void *) (bytes + header_bytes(cb->levels));
	for (int l = 0; l < cb->levels; l++)
	{
		cb->codewords[l] = codewords;
		codewords += (size_t) cb->sizes[l] * (size_t) cb->dim;
	}
	return STK_OK;
}

stk_status
stk_codebook_check_finite(const stk_codebook *cb, stk_error *err)
{
	for (int l = 0; l < cb->levels; l++)
	{
		const float *c = cb->codewords[l];

		for (uint32_t k = 0; k < cb->sizes[l]; k++, c += cb->dim)
		{
			for (int i = 0; i < cb->dim; i++)
			{
				if (isfinite(c[i]))
					continue;
				if (err)
				{
					err->row = k;
					err->level = l;
				}
				return stk_fail(err, STK_EINVAL, "codeword %u of level %d holds NaN or infinity", k,
								l);
			}
		}
	}
	return STK_OK;
}
