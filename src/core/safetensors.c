#include "safetensors.h"

#include "fpenv.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static const struct
{
	const char *name;
	unsigned int size;
} dtypes[] = {
	[STK_BOOL] = {"BOOL", 1},       [STK_U8] = {"U8", 1},           [STK_I8] = {"I8", 1},
	[STK_F8_E5M2] = {"F8_E5M2", 1}, [STK_F8_E4M3] = {"F8_E4M3", 1}, [STK_I16] = {"I16", 2},
	[STK_U16] = {"U16", 2},         [STK_F16] = {"F16", 2},         [STK_BF16] = {"BF16", 2},
	[STK_I32] = {"I32", 4},         [STK_U32] = {"U32", 4},         [STK_F32] = {"F32", 4},
	[STK_F64] = {"F64", 8},         [STK_I64] = {"I64", 8},         [STK_U64] = {"U64", 8},
};

#define DTYPES (sizeof(dtypes) / sizeof(dtypes[0]))
#define METADATA "__metadata__"

/* The header while it is read. The grammar has a fixed depth, so nothing here recurses. */
typedef struct reader
{
	const uint8_t *start;
	const uint8_t *p;
	const uint8_t *end;
	char *strings; /* unescaped strings go here; never longer than the header */
	size_t strings_len;
	stk_error *err;
} reader;

static stk_status
bad(reader *r, const char *what)
{
	return stk_fail(r->err, STK_EINVAL, "%s at byte %zu of the header", what,
					(size_t) (r->p - r->start));
}

static void
skip_space(reader *r)
{
	while (r->p < r->end && (*r->p == ' ' || *r->p == '\t' || *r->p == '\n' || *r->p == '\r'))
		r->p++;
}

/* Skip space, then take c if it comes next. */
static bool
take(reader *r, char c)
{
	skip_space(r);
	if (r->p == r->end || *r->p != (uint8_t) c)
		return false;
	r->p++;
	return true;
}

static int
hex4(const uint8_t *p)
{
	int v = 0;

	for (int i = 0; i < 4; i++)
	{
		int c = p[i];

		if (c >= '0' && c <= '9')
			v = v << 4 | (c - '0');
		else if ((c | 32) >= 'a' && (c | 32) <= 'f')
			v = v << 4 | ((c | 32) - 'a' + 10);
		else
			return -1;
	}
	return v;
}

/* Read the four digits after \u, and a second such escape after a high surrogate. */
static stk_status
read_unicode_escape(reader *r, uint32_t *code)
{
	int high;
	int low;

	if (r->end - r->p < 4 || (high = hex4(r->p)) < 0)
		return bad(r, "invalid \\u escape");
	r->p += 4;
	*code = (uint32_t) high;
	if (high < 0xd800 || high > 0xdfff)
		return high == 0 ? bad(r, "NUL in a string") : STK_OK;
	if (high > 0xdbff || r->end - r->p < 6 || r->p[0] != '\\' || r->p[1] != 'u' ||
		(low = hex4(r->p + 2)) < 0xdc00 || low > 0xdfff)
		return bad(r, "unpaired surrogate");
	r->p += 6;
	*code = 0x10000 + ((uint32_t) (high - 0xd800) << 10) + (uint32_t) (low - 0xdc00);
	return STK_OK;
}

static char *
put_utf8(char *out, uint32_t code)
{
	if (code < 0x80)
		*out++ = (char) code;
	else if (code < 0x800)
	{
		*out++ = (char) (0xc0 | code >> 6);
		*out++ = (char) (0x80 | (code & 0x3f));
	}
	else if (code < 0x10000)
	{
		*out++ = (char) (0xe0 | code >> 12);
		*out++ = (char) (0x80 | (code >> 6 & 0x3f));
		*out++ = (char) (0x80 | (code & 0x3f));
	}
	else
	{
		*out++ = (char) (0xf0 | code >> 18);
		*out++ = (char) (0x80 | (code >> 12 & 0x3f));
		*out++ = (char) (0x80 | (code >> 6 & 0x3f));
		*out++ = (char) (0x80 | (code & 0x3f));
	}
	return out;
}

/* Length of the well-formed UTF-8 sequence at p, 0 when there is none (RFC 3629). */
static int
utf8_length(const uint8_t *p, const uint8_t *end)
{
	int n = p[0] < 0x80   ? 1
			: p[0] < 0xc2 ? 0
			: p[0] < 0xe0 ? 2
			: p[0] < 0xf0 ? 3
			: p[0] < 0xf5 ? 4
						  : 0;

	if (n == 0 || end - p < n)
		return 0;
	for (int i = 1; i < n; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
		(p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return n;
}

/* A string, unescaped and NUL-terminated, in r->strings. */
static stk_status
read_string(reader *r, const char **string)
{
	static const char escapes[] = "\"\\/bfnrt";
	static const char escaped[] = "\"\\/\b\f\n\r\t";
	char *out = r->strings + r->strings_len;

	if (!take(r, '"'))
		return bad(r, "expected a string");
	*string = out;
	while (r->p < r->end && *r->p != '"')
	{
		if (*r->p < 0x20)
			return bad(r, "control character in a string");
		if (*r->p != '\\')
		{
			int n = utf8_length(r->p, r->end);

			if (n == 0)
				return bad(r, "invalid UTF-8");
			memcpy(out, r->p, (size_t) n);
			out += n;
			r->p += n;
			continue;
		}
		r->p++;
		if (r->p < r->end && *r->p == 'u')
		{
			uint32_t code = 0;
			stk_status status;

			r->p++;
			status = read_unicode_escape(r, &code);
			if (status != STK_OK)
				return status;
			out = put_utf8(out, code);
			continue;
		}
		const char *escape = r->p < r->end && *r->p ? strchr(escapes, *r->p) : NULL;

		if (!escape)
			return bad(r, "invalid escape");
		*out++ = escaped[escape - escapes];
		r->p++;
	}
	if (r->p == r->end)
		return bad(r, "unfinished string");
	r->p++;
	*out++ = '\0';
	r->strings_len = (size_t) (out - r->strings);
	return STK_OK;
}

/* A whole number without sign, fraction or exponent. */
static stk_status
read_number(reader *r, uint64_t *number)
{
	const uint8_t *start;

	skip_space(r);
	start = r->p;
	*number = 0;
	while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
	{
		uint64_t digit = (uint64_t) (*r->p - '0');

		if (*number > (UINT64_MAX - digit) / 10)
			return bad(r, "number too large");
		*number = *number * 10 + digit;
		r->p++;
	}
	if (r->p == start || (*start == '0' && r->p > start + 1))
		return bad(r, "expected a whole number");
	return STK_OK;
}

/* "[a, b, …]" of at most max numbers. */
static stk_status
read_numbers(reader *r, uint64_t *numbers, int max, int *n)
{
	*n = 0;
	if (!take(r, '['))
		return bad(r, "expected an array");
	if (take(r, ']'))
		return STK_OK;
	do
	{
		stk_status status;

		if (*n == max)
			return bad(r, "too many numbers");
		status = read_number(r, &numbers[(*n)++]);
		if (status != STK_OK)
			return status;
	} while (take(r, ','));
	return take(r, ']') ? STK_OK : bad(r, "expected , or ]");
}

static int
by_string(const void *a, const void *b)
{
	return strcmp(*(const char *const *) a, *(const char *const *) b);
}

/*
 * Find what we know among n entries, which lie one after the other as key, NUL, value, NUL, and
 * check that no key comes twice.
 */
static stk_status
check_metadata(reader *r, const char *entries, size_t n, stk_safetensors *file)
{
	const stk_allocator *a = file->a;
	const char **keys = stk_alloc_array(a, n, sizeof(char *));
	stk_status status = STK_OK;

	if (!keys)
		return STK_ENOMEM;
	for (size_t i = 0; i < n; i++)
	{
		const char *value = entries + strlen(entries) + 1;

		keys[i] = entries;
		if (strcmp(entries, "metric") == 0)
			file->metric = value;
		else if (strcmp(entries, "activation") == 0)
			file->activation = value;
		else if (strcmp(entries, "semtok.options") == 0)
			file->options = value;
		entries = value + strlen(value) + 1;
	}
	qsort(keys, n, sizeof(char *), by_string);
	for (size_t i = 1; i < n && status == STK_OK; i++)
		if (strcmp(keys[i - 1], keys[i]) == 0)
			status = stk_fail(r->err, STK_EINVAL, "metadata key \"%.64s\" appears twice", keys[i]);
	stk_free(a, keys);
	return status;
}

static stk_status
read_metadata(reader *r, stk_safetensors *file)
{
	const char *entries = r->strings + r->strings_len;
	size_t n = 0;

	if (!take(r, '{'))
		return bad(r, "expected an object");
	if (take(r, '}'))
		return STK_OK;
	do
	{
		const char *string;
		stk_status status = read_string(r, &string);

		if (status == STK_OK && !take(r, ':'))
			status = bad(r, "expected :");
		if (status == STK_OK)
			status = read_string(r, &string);
		if (status != STK_OK)
			return status;
		n++;
	} while (take(r, ','));
	if (!take(r, '}'))
		return bad(r, "expected , or }");
	return check_metadata(r, entries, n, file);
}

static stk_status
read_dtype(reader *r, stk_dtype *dtype)
{
	const char *name;
	stk_status status = read_string(r, &name);

	if (status != STK_OK)
		return status;
	for (size_t i = 0; i < DTYPES; i++)
	{
		if (strcmp(name, dtypes[i].name) == 0)
		{
			*dtype = (stk_dtype) i;
			return STK_OK;
		}
	}
	return bad(r, "unknown dtype");
}

static stk_status
read_tensor(reader *r, stk_tensor *tensor)
{
	bool dtype = false;
	bool shape = false;
	bool offsets = false;

	if (!take(r, '{'))
		return bad(r, "expected an object");
	do
	{
		const char *key;
		stk_status status = read_string(r, &key);
		bool *seen;

		if (status == STK_OK && !take(r, ':'))
			status = bad(r, "expected :");
		if (status != STK_OK)
			return status;
		if (strcmp(key, "dtype") == 0)
		{
			seen = &dtype;
			status = read_dtype(r, &tensor->dtype);
		}
		else if (strcmp(key, "shape") == 0)
		{
			seen = &shape;
			status = read_numbers(r, tensor->shape, STK_TENSOR_MAX_DIMS, &tensor->ndim);
		}
		else if (strcmp(key, "data_offsets") == 0)
		{
			uint64_t pair[2];
			int n;

			seen = &offsets;
			status = read_numbers(r, pair, 2, &n);
			if (status == STK_OK && n != 2)
				status = bad(r, "expected two offsets");
			tensor->begin = pair[0];
			tensor->end = pair[1];
		}
		else
			return bad(r, "unknown key of a tensor");
		if (status != STK_OK)
			return status;
		if (*seen)
			return bad(r, "duplicate key of a tensor");
		*seen = true;
	} while (take(r, ','));
	if (!take(r, '}'))
		return bad(r, "expected , or }");
	if (!dtype || !shape || !offsets)
		return bad(r, "dtype, shape or data_offsets is missing");
	return STK_OK;
}

/* Set count and check it against the bytes the tensor has. */
static stk_status
check_size(stk_tensor *tensor, stk_error *err)
{
	uint64_t size = dtypes[tensor->dtype].size;

	tensor->count = 1;
	for (int i = 0; i < tensor->ndim; i++)
		if (__builtin_mul_overflow(tensor->count, tensor->shape[i], &tensor->count))
			return stk_fail(err, STK_EINVAL, "shape of tensor \"%.64s\" is too large",
							tensor->name);
	if (tensor->end < tensor->begin || tensor->count > UINT64_MAX / size ||
		tensor->count * size != tensor->end - tensor->begin)
		return stk_fail(err, STK_EINVAL,
						"data_offsets of tensor \"%.64s\" do not fit its shape and dtype",
						tensor->name);
	return STK_OK;
}

static int
by_begin(const void *a, const void *b)
{
	const stk_tensor *x = a;
	const stk_tensor *y = b;

	if (x->begin != y->begin)
		return x->begin < y->begin ? -1 : 1;
	return (x->end > y->end) - (x->end < y->end);
}

static int
by_name(const void *a, const void *b)
{
	return strcmp(((const stk_tensor *) a)->name, ((const stk_tensor *) b)->name);
}

/* Check that the tensors cover `len` bytes at `data` one after the other, and point them there. */
static stk_status
place_tensors(stk_safetensors *file, const uint8_t *data, size_t len, stk_error *err)
{
	uint64_t covered = 0;

	if (file->n > 0)
		qsort(file->tensors, file->n, sizeof(stk_tensor), by_begin);
	for (size_t i = 0; i < file->n; i++)
	{
		stk_tensor *tensor = &file->tensors[i];

		if (tensor->begin != covered)
			return stk_fail(err, STK_EINVAL, "tensor \"%.64s\" %s", tensor->name,
							tensor->begin < covered ? "overlaps another" : "follows a gap");
		if (tensor->end > len)
			return stk_fail(err, STK_EINVAL, "tensor \"%.64s\" ends beyond the file", tensor->name);
		tensor->data = data + tensor->begin;
		covered = tensor->end;
	}
	if (covered != len)
		return stk_fail(err, STK_EINVAL, "%zu bytes at the end belong to no tensor",
						(size_t) (len - covered));
	if (file->n > 0)
		qsort(file->tensors, file->n, sizeof(stk_tensor), by_name);
	for (size_t i = 1; i < file->n; i++)
		if (strcmp(file->tensors[i - 1].name, file->tensors[i].name) == 0)
			return stk_fail(err, STK_EINVAL, "tensor \"%.64s\" appears twice",
							file->tensors[i].name);
	return STK_OK;
}

static stk_status
add_tensor(stk_safetensors *file, size_t *capacity, const char *name, stk_tensor **tensor)
{
	if (file->n == *capacity)
	{
		size_t larger = *capacity ? *capacity * 2 : 16;
		stk_tensor *grown = stk_realloc_array(file->a, file->tensors, larger, sizeof(stk_tensor));

		if (!grown)
			return STK_ENOMEM;
		file->tensors = grown;
		*capacity = larger;
	}
	*tensor = &file->tensors[file->n++];
	memset(*tensor, 0, sizeof(stk_tensor));
	(*tensor)->name = name;
	return STK_OK;
}

static stk_status
read_header(reader *r, stk_safetensors *file)
{
	size_t capacity = 0;
	bool metadata = false;

	if (r->p == r->end || *r->p != '{')
		return bad(r, "expected {");
	r->p++;
	if (!take(r, '}'))
	{
		do
		{
			const char *name;
			stk_tensor *tensor;
			stk_status status = read_string(r, &name);

			if (status == STK_OK && !take(r, ':'))
				status = bad(r, "expected :");
			if (status != STK_OK)
				return status;
			if (strcmp(name, METADATA) == 0)
			{
				if (metadata)
					return bad(r, "duplicate " METADATA);
				metadata = true;
				status = read_metadata(r, file);
			}
			else
			{
				status = add_tensor(file, &capacity, name, &tensor);
				if (status == STK_OK)
					status = read_tensor(r, tensor);
				if (status == STK_OK)
					status = check_size(tensor, r->err);
			}
			if (status != STK_OK)
				return status;
		} while (take(r, ','));
		if (!take(r, '}'))
			return bad(r, "expected , or }");
	}
	skip_space(r);
	return r->p == r->end ? STK_OK : bad(r, "unexpected characters");
}

stk_status
stk_safetensors_read(const uint8_t *bytes, size_t len, const stk_allocator *a,
					 stk_safetensors *file, stk_error *err)
{
	reader r = {0};
	uint64_t header = 0;
	stk_status status;

	memset(file, 0, sizeof(*file));
	file->a = a;
	if (len < 8)
		return stk_fail(err, STK_EINVAL, "file is cut off");
	for (int i = 7; i >= 0; i--)
		header = header << 8 | bytes[i];
	if (header > STK_SAFETENSORS_MAX_HEADER)
		return stk_fail(err, STK_EINVAL, "header of %llu bytes is larger than %d",
						(unsigned long long) header, STK_SAFETENSORS_MAX_HEADER);
	if (header > len - 8)
		return stk_fail(err, STK_EINVAL, "header of %llu bytes ends beyond the file",
						(unsigned long long) header);

	/* Unescaping never lengthens a string, and its NUL takes the place of a quote. */
	file->names = stk_alloc_array(a, (size_t) header + 1, 1);
	if (!file->names)
		return STK_ENOMEM;
	r.start = r.p = bytes + 8;
	r.end = r.start + header;
	r.strings = file->names;
	r.err = err;
	status = read_header(&r, file);
	if (status == STK_OK)
		status = place_tensors(file, r.end, len - 8 - (size_t) header, err);
	if (status != STK_OK)
		stk_safetensors_free(file);
	return status;
}

void
stk_safetensors_free(stk_safetensors *file)
{
	stk_free(file->a, file->tensors);
	stk_free(file->a, file->names);
	file->tensors = NULL;
	file->names = NULL;
	file->metric = NULL;
	file->activation = NULL;
	file->options = NULL;
	file->n = 0;
}

const stk_tensor *
stk_safetensors_find(const stk_safetensors *file, const char *name)
{
	stk_tensor key = {.name = name};

	if (file->n == 0)
		return NULL;
	return bsearch(&key, file->tensors, file->n, sizeof(stk_tensor), by_name);
}

const char *
stk_dtype_name(stk_dtype dtype)
{
	return dtypes[dtype].name;
}

static float
float_from_bits(uint32_t bits)
{
	float f;

	memcpy(&f, &bits, sizeof(f));
	return f;
}

/* binary16 to binary32, exact; a NaN keeps its payload. */
static float
half_to_float(uint16_t half)
{
	uint32_t sign = (uint32_t) (half & 0x8000) << 16;
	uint32_t exponent = half >> 10 & 0x1f;
	uint32_t fraction = half & 0x3ff;

	if (exponent == 0x1f)
		return float_from_bits(sign | 0x7f800000 | fraction << 13);
	if (exponent != 0)
		return float_from_bits(sign | (exponent + 112) << 23 | fraction << 13);
	/* A subnormal: fraction times 2^-24, which is normal in binary32. */
	return float_from_bits(sign) + (sign ? -1.0f : 1.0f) * (float) fraction * 0x1p-24f;
}

static stk_status
floats_from_doubles(const stk_tensor *tensor, const uint8_t *p, uint64_t count, float *out,
					stk_error *err)
{
	stk_fpenv env = stk_fpenv_enter();
	stk_status status = STK_OK;

	for (uint64_t i = 0; i < count && status == STK_OK; i++, p += sizeof(double))
	{
		double d;

		memcpy(&d, p, sizeof(d));
		out[i] = (float) d;
		if (isfinite(d) && !isfinite(out[i]))
			status =
				stk_fail(err, STK_ERANGE, "a value of tensor \"%.64s\" is beyond binary32's range",
						 tensor->name);
	}
	stk_fpenv_leave(env);
	return status;
}

stk_status
stk_tensor_floats(const stk_tensor *tensor, uint64_t first, uint64_t count, float *out,
				  stk_error *err)
{
	const uint8_t *p = tensor->data + first * dtypes[tensor->dtype].size;

	switch (tensor->dtype)
	{
		case STK_F32:
			memcpy(out, p, count * sizeof(float));
			return STK_OK;
		case STK_F16:
		case STK_BF16:
			for (uint64_t i = 0; i < count; i++, p += 2)
			{
				uint16_t half = (uint16_t) (p[0] | p[1] << 8);

				out[i] = tensor->dtype == STK_F16 ? half_to_float(half)
												  : float_from_bits((uint32_t) half << 16);
			}
			return STK_OK;
		case STK_F64:
			return floats_from_doubles(tensor, p, count, out, err);
		default:
			return stk_fail(err, STK_EINVAL,
							"tensor \"%.64s\" has dtype %s, expected F32, F16, BF16 or F64",
							tensor->name, dtypes[tensor->dtype].name);
	}
}

/* A whole number of this many bytes. */
static double
double_from_integer(const uint8_t *p, size_t size, bool is_signed)
{
	uint64_t bits = 0;

	for (size_t i = size; i > 0; i--)
		bits = bits << 8 | p[i - 1];
	if (is_signed && size < sizeof(bits) && bits >> (8 * size - 1))
		bits |= ~(uint64_t) 0 << 8 * size;
	return is_signed ? (double) (int64_t) bits : (double) bits;
}

stk_status
stk_tensor_doubles(const stk_tensor *tensor, uint64_t first, uint64_t count, double *out,
				   stk_error *err)
{
	size_t size = dtypes[tensor->dtype].size;
	const uint8_t *p = tensor->data + first * size;
	stk_fpenv env;

	switch (tensor->dtype)
	{
		case STK_F64:
			memcpy(out, p, count * sizeof(double));
			return STK_OK;
		case STK_F32:
		case STK_F16:
		case STK_BF16:
			for (uint64_t i = 0; i < count; i++)
			{
				float value;

				stk_tensor_floats(tensor, first + i, 1, &value, err);
				out[i] = (double) value;
			}
			return STK_OK;
		case STK_I8:
		case STK_I16:
		case STK_I32:
		case STK_I64:
		case STK_U8:
		case STK_U16:
		case STK_U32:
		case STK_U64:
			env = stk_fpenv_enter();
			for (uint64_t i = 0; i < count; i++, p += size)
				out[i] =
					double_from_integer(p, size,
										tensor->dtype == STK_I8 || tensor->dtype == STK_I16 ||
											tensor->dtype == STK_I32 || tensor->dtype == STK_I64);
			stk_fpenv_leave(env);
			return STK_OK;
		default:
			return stk_fail(err, STK_EINVAL, "tensor \"%.64s\" has dtype %s, expected numbers",
							tensor->name, dtypes[tensor->dtype].name);
	}
}
