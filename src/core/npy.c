#include "npy.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#define PREFIX_BYTES 10
#define ALIGNMENT 64
/* The longest header: 32 dimensions of 20 digits. */
#define MAX_HEADER 1024

static const uint8_t magic[] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};

static const struct
{
	const char *descr;
	unsigned int size;
} types[] = {
	[STK_NPY_BOOL] = {"|b1", 1}, [STK_NPY_I8] = {"|i1", 1},  [STK_NPY_U8] = {"|u1", 1},
	[STK_NPY_I16] = {"<i2", 2},  [STK_NPY_U16] = {"<u2", 2}, [STK_NPY_I32] = {"<i4", 4},
	[STK_NPY_U32] = {"<u4", 4},  [STK_NPY_I64] = {"<i8", 8},
};

#define TYPES (sizeof(types) / sizeof(types[0]))

uint64_t
stk_npy_count(const stk_npy *array)
{
	uint64_t count = 1;

	for (int i = 0; i < array->ndim; i++)
		if (array->shape[i] == 0)
			return 0;
	for (int i = 0; i < array->ndim; i++)
		if (__builtin_mul_overflow(count, array->shape[i], &count))
			return UINT64_MAX;
	return count;
}

uint64_t
stk_npy_bytes(const stk_npy *array)
{
	uint64_t bytes;

	if (__builtin_mul_overflow(stk_npy_count(array), (uint64_t) types[array->type].size, &bytes))
		return UINT64_MAX;
	return bytes;
}

int64_t
stk_npy_value(const stk_npy *array, uint64_t i)
{
	const uint8_t *p = array->data + i * types[array->type].size;
	uint16_t two;
	uint32_t four;
	int64_t eight;

	switch (array->type)
	{
		case STK_NPY_BOOL:
			return *p != 0;
		case STK_NPY_U8:
			return *p;
		case STK_NPY_I8:
			return (int8_t) *p;
		case STK_NPY_U16:
		case STK_NPY_I16:
			memcpy(&two, p, sizeof(two));
			return array->type == STK_NPY_U16 ? two : (int16_t) two;
		case STK_NPY_U32:
		case STK_NPY_I32:
			memcpy(&four, p, sizeof(four));
			return array->type == STK_NPY_U32 ? (int64_t) four : (int32_t) four;
		case STK_NPY_I64:
			break;
	}
	memcpy(&eight, p, sizeof(eight));
	return eight;
}

/* The dictionary, without padding; returns its length. */
static size_t
print_header(const stk_npy *array, char *out)
{
	int n = sprintf(out, "{'descr': '%s', 'fortran_order': False, 'shape': (",
					types[array->type].descr);

	/* As Python prints a tuple: (), (3,), (3, 4). */
	for (int i = 0; i < array->ndim; i++)
		n += sprintf(out + n, "%s%llu%s", i > 0 ? " " : "", (unsigned long long) array->shape[i],
					 i + 1 < array->ndim || i == 0 ? "," : "");
	n += sprintf(out + n, "), }");
	return (size_t) n;
}

size_t
stk_npy_header_size(const stk_npy *array)
{
	char header[MAX_HEADER];
	size_t size = PREFIX_BYTES + print_header(array, header) + 1;

	return (size + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
}

void
stk_npy_write_header(const stk_npy *array, uint8_t *out)
{
	char header[MAX_HEADER];
	size_t n = print_header(array, header);
	size_t size = stk_npy_header_size(array);

	memcpy(out, magic, sizeof(magic));
	out[8] = (uint8_t) (size - PREFIX_BYTES);
	out[9] = (uint8_t) ((size - PREFIX_BYTES) >> 8);
	memcpy(out + PREFIX_BYTES, header, n);
	memset(out + PREFIX_BYTES + n, ' ', size - PREFIX_BYTES - n - 1);
	out[size - 1] = '\n';
}

/* The header while it is read. */
typedef struct reader
{
	const uint8_t *p;
	const uint8_t *end;
} reader;

static void
skip_space(reader *r)
{
	while (r->p < r->end && *r->p == ' ')
		r->p++;
}

/* Skip space, then take the text if it comes next. */
static bool
take(reader *r, const char *text)
{
	size_t n = strlen(text);

	skip_space(r);
	if ((size_t) (r->end - r->p) < n || memcmp(r->p, text, n) != 0)
		return false;
	r->p += n;
	return true;
}

/* A string in single quotes, of at most max - 1 plain characters. */
static bool
take_string(reader *r, char *out, size_t max)
{
	size_t n = 0;

	if (!take(r, "'"))
		return false;
	while (r->p < r->end && *r->p != '\'')
	{
		if (n + 1 == max || *r->p < ' ' || *r->p > '~' || *r->p == '\\')
			return false;
		out[n++] = (char) *r->p++;
	}
	out[n] = '\0';
	return take(r, "'");
}

static bool
take_number(reader *r, uint64_t *number)
{
	const uint8_t *start;

	skip_space(r);
	start = r->p;
	*number = 0;
	while (r->p < r->end && *r->p >= '0' && *r->p <= '9')
		if (__builtin_mul_overflow(*number, (uint64_t) 10, number) ||
			__builtin_add_overflow(*number, (uint64_t) (*r->p++ - '0'), number))
			return false;
	return r->p > start && (*start != '0' || r->p == start + 1);
}

/* "(2, 3)", "(2,)" or "()". */
static bool
take_shape(reader *r, stk_npy *array)
{
	array->ndim = 0;
	if (!take(r, "("))
		return false;
	while (!take(r, ")"))
	{
		if (array->ndim == STK_NPY_MAX_DIMS || !take_number(r, &array->shape[array->ndim]))
			return false;
		array->ndim++;
		if (take(r, ","))
			continue;
		return array->ndim > 1 && take(r, ")");
	}
	return true;
}

typedef struct header
{
	char descr[32];
	bool has_descr;
	bool fortran;
	bool has_fortran;
	bool has_shape;
} header;

static bool
take_header(reader *r, header *h, stk_npy *array)
{
	if (!take(r, "{"))
		return false;
	while (!take(r, "}"))
	{
		char key[16];
		bool *seen;
		bool ok;

		if (!take_string(r, key, sizeof(key)) || !take(r, ":"))
			return false;
		if (strcmp(key, "descr") == 0)
		{
			seen = &h->has_descr;
			ok = take_string(r, h->descr, sizeof(h->descr));
		}
		else if (strcmp(key, "fortran_order") == 0)
		{
			seen = &h->has_fortran;
			h->fortran = take(r, "True");
			ok = h->fortran || take(r, "False");
		}
		else if (strcmp(key, "shape") == 0)
		{
			seen = &h->has_shape;
			ok = take_shape(r, array);
		}
		else
			return false;
		if (!ok || *seen)
			return false;
		*seen = true;
		if (take(r, ","))
			continue;
		if (!take(r, "}"))
			return false;
		break;
	}
	skip_space(r);
	return r->p + 1 == r->end && *r->p == '\n' && h->has_descr && h->has_fortran && h->has_shape;
}

static bool
find_type(const char *descr, stk_npy_type *type)
{
	for (size_t i = 0; i < TYPES; i++)
	{
		if (strcmp(types[i].descr, descr) == 0)
		{
			*type = (stk_npy_type) i;
			return true;
		}
	}
	return false;
}

stk_status
stk_npy_read(const uint8_t *bytes, size_t len, stk_npy *array, stk_error *err)
{
	header h = {0};
	reader r;
	size_t header_len;

	if (len < PREFIX_BYTES || memcmp(bytes, magic, 6) != 0)
		return stk_fail(err, STK_EINVAL, "array \"%s\" is not in npy format", array->name);
	if (memcmp(bytes, magic, sizeof(magic)) != 0)
		return stk_fail(err, STK_EINVAL, "array \"%s\" has npy version %d.%d, expected 1.0",
						array->name, bytes[6], bytes[7]);
	header_len = (size_t) bytes[8] | (size_t) bytes[9] << 8;
	if (header_len > len - PREFIX_BYTES)
		return stk_fail(err, STK_EINVAL, "array \"%s\" ends within its header", array->name);
	r.p = bytes + PREFIX_BYTES;
	r.end = r.p + header_len;
	if (!take_header(&r, &h, array))
		return stk_fail(err, STK_EINVAL, "array \"%s\" has an invalid header", array->name);
	if (!find_type(h.descr, &array->type))
		return stk_fail(err, STK_EINVAL,
						"array \"%s\" has type %s, expected booleans or little-endian integers",
						array->name, h.descr);
	if (h.fortran)
		return stk_fail(err, STK_EINVAL,
						"array \"%s\" is in Fortran order: save numpy.ascontiguousarray of it",
						array->name);
	array->data = r.end;
	if (stk_npy_bytes(array) != len - PREFIX_BYTES - header_len)
		return stk_fail(err, STK_EINVAL, "shape of array \"%s\" does not fit its %zu bytes",
						array->name, len - PREFIX_BYTES - header_len);
	return STK_OK;
}
