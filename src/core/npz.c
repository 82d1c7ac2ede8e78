#include "npz.h"

#include "npy.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define LOCAL_MAGIC 0x04034b50u
#define CENTRAL_MAGIC 0x02014b50u
#define END_MAGIC 0x06054b50u
#define LOCAL_BYTES 30
#define CENTRAL_BYTES 46
#define END_BYTES 22
#define MAX_COMMENT 65535

#define VERSION 20                 /* 2.0: what stored files need */
#define MADE_BY (3 << 8 | VERSION) /* Unix */
#define MODE (0600u << 16)         /* of the file, as numpy.savez has it */
#define DATE 0x21                  /* 1 January 1980, the first there is */
#define ENCRYPTED 1                /* flag */

/* Bytes between looks at the monitor. */
#define CRC_STEP (1 << 20)

static const char suffix[] = ".npy";

static uint16_t
get16(const uint8_t *p)
{
	return (uint16_t) (p[0] | p[1] << 8);
}

static uint32_t
get32(const uint8_t *p)
{
	return (uint32_t) get16(p) | (uint32_t) get16(p + 2) << 16;
}

static uint8_t *
put16(uint8_t *p, uint32_t value)
{
	p[0] = (uint8_t) value;
	p[1] = (uint8_t) (value >> 8);
	return p + 2;
}

static uint8_t *
put32(uint8_t *p, uint32_t value)
{
	return put16(put16(p, value), value >> 16);
}

/* Tables of the CRC-32 of zip archives (ISO 3309): entry [k][b] is byte b followed by k zeros. */
typedef struct crc_tables
{
	uint32_t t[8][256];
} crc_tables;

static void
crc_tables_init(crc_tables *tables)
{
	for (uint32_t b = 0; b < 256; b++)
	{
		uint32_t crc = b;

		for (int i = 0; i < 8; i++)
			crc = crc >> 1 ^ (crc & 1 ? 0xedb88320u : 0);
		tables->t[0][b] = crc;
	}
	for (int k = 1; k < 8; k++)
		for (uint32_t b = 0; b < 256; b++)
		{
			uint32_t crc = tables->t[k - 1][b];

			tables->t[k][b] = crc >> 8 ^ tables->t[0][crc & 0xff];
		}
}

/* Eight bytes at a time ("slicing by 8"). */
static stk_status
crc_of(const uint8_t *p, size_t len, const stk_monitor *monitor, uint32_t *out)
{
	crc_tables tables;
	uint32_t crc = 0xffffffffu;

	crc_tables_init(&tables);
	while (len > 0)
	{
		size_t n = len < CRC_STEP ? len : CRC_STEP;

		if (stk_should_stop(monitor))
			return STK_ECANCELED;
		len -= n;
		for (; n >= 8; n -= 8, p += 8)
		{
			uint32_t low = get32(p) ^ crc;

			crc = tables.t[7][low & 0xff] ^ tables.t[6][low >> 8 & 0xff] ^
				  tables.t[5][low >> 16 & 0xff] ^ tables.t[4][low >> 24] ^ tables.t[3][p[4]] ^
				  tables.t[2][p[5]] ^ tables.t[1][p[6]] ^ tables.t[0][p[7]];
		}
		for (; n > 0; n--)
			crc = crc >> 8 ^ tables.t[0][(crc ^ *p++) & 0xff];
	}
	*out = ~crc;
	return STK_OK;
}

static size_t
entry_name_len(const stk_npy *array)
{
	return strlen(array->name) + strlen(suffix);
}

/* Bytes of the npy file; UINT64_MAX when there are too many. */
static uint64_t
npy_size(const stk_npy *array)
{
	uint64_t size;

	if (__builtin_add_overflow(stk_npy_bytes(array), stk_npy_header_size(array), &size))
		return UINT64_MAX;
	return size;
}

uint64_t
stk_npz_size(const stk_npy *arrays, size_t n)
{
	uint64_t size = END_BYTES;

	for (size_t i = 0; i < n; i++)
	{
		uint64_t file = npy_size(&arrays[i]);

		if (file > UINT32_MAX)
			return UINT64_MAX;
		size += LOCAL_BYTES + CENTRAL_BYTES + 2 * entry_name_len(&arrays[i]) + file;
	}
	return size <= UINT32_MAX ? size : UINT64_MAX;
}

/* What the local and the central header have in common, up to the length of the extra field. */
static uint8_t *
put_entry(uint8_t *p, const stk_npy *array, uint32_t crc)
{
	uint32_t size = (uint32_t) npy_size(array);

	p = put16(p, VERSION);
	p = put16(p, 0); /* flags */
	p = put16(p, 0); /* stored */
	p = put16(p, 0); /* midnight */
	p = put16(p, DATE);
	p = put32(p, crc);
	p = put32(p, size);
	p = put32(p, size);
	p = put16(p, (uint32_t) entry_name_len(array));
	return put16(p, 0);
}

static uint8_t *
put_name(uint8_t *p, const stk_npy *array)
{
	size_t n = strlen(array->name);

	memcpy(p, array->name, n);
	memcpy(p + n, suffix, strlen(suffix));
	return p + n + strlen(suffix);
}

void
stk_npz_begin(stk_npy *arrays, size_t n, uint8_t *out)
{
	for (size_t i = 0; i < n; i++)
	{
		out += LOCAL_BYTES + entry_name_len(&arrays[i]);
		stk_npy_write_header(&arrays[i], out);
		out += stk_npy_header_size(&arrays[i]);
		arrays[i].data = out;
		out += stk_npy_bytes(&arrays[i]);
	}
}

stk_status
stk_npz_end(const stk_npy *arrays, size_t n, uint8_t *out, const stk_monitor *monitor)
{
	uint8_t *p = out;
	uint8_t *central = out;
	uint32_t central_at;

	for (size_t i = 0; i < n; i++)
		central += LOCAL_BYTES + entry_name_len(&arrays[i]) + npy_size(&arrays[i]);
	central_at = (uint32_t) (central - out);
	for (size_t i = 0; i < n; i++)
	{
		uint32_t at = (uint32_t) (p - out);
		uint8_t *npy = p + LOCAL_BYTES + entry_name_len(&arrays[i]);
		size_t size = (size_t) npy_size(&arrays[i]);
		uint32_t crc = 0;
		stk_status status = crc_of(npy, size, monitor, &crc);

		if (status != STK_OK)
			return status;
		p = put32(p, LOCAL_MAGIC);
		p = put_entry(p, &arrays[i], crc);
		(void) put_name(p, &arrays[i]);
		p = npy + size;

		central = put32(central, CENTRAL_MAGIC);
		central = put16(central, MADE_BY);
		central = put_entry(central, &arrays[i], crc);
		central = put16(central, 0); /* comment */
		central = put16(central, 0); /* disk */
		central = put16(central, 0); /* internal attributes */
		central = put32(central, MODE);
		central = put32(central, at);
		central = put_name(central, &arrays[i]);
	}
	p = put32(central, END_MAGIC);
	p = put16(p, 0); /* this disk */
	p = put16(p, 0); /* the central directory's */
	p = put16(p, (uint32_t) n);
	p = put16(p, (uint32_t) n);
	p = put32(p, (uint32_t) (central - out) - central_at);
	p = put32(p, central_at);
	(void) put16(p, 0); /* comment */
	return STK_OK;
}

/* The end record: the last thing in the file, but for a comment as long as it says. */
static const uint8_t *
find_end(const uint8_t *bytes, size_t len)
{
	for (size_t comment = 0; comment <= MAX_COMMENT && comment + END_BYTES <= len; comment++)
	{
		const uint8_t *p = bytes + len - END_BYTES - comment;

		if (get32(p) == END_MAGIC && get16(p + 20) == comment)
			return p;
	}
	return NULL;
}

/*
 * Read the central header at p, below end, and find the entry's data by the local header, which
 * must say the same. Returns the next header, NULL with err filled.
 */
static const uint8_t *
read_entry(const uint8_t *bytes, const uint8_t *directory, const uint8_t *p, const uint8_t *end,
		   stk_npz_entry *entry, stk_error *err)
{
	size_t files = (size_t) (directory - bytes);
	const uint8_t *local;
	size_t at;
	size_t header;

	if (end - p < CENTRAL_BYTES || get32(p) != CENTRAL_MAGIC ||
		(size_t) (end - p) < (size_t) CENTRAL_BYTES + get16(p + 28) + get16(p + 30) + get16(p + 32))
	{
		(void) stk_fail(err, STK_EINVAL, "the archive's directory is not valid");
		return NULL;
	}
	entry->name = p + CENTRAL_BYTES;
	entry->name_len = get16(p + 28);
	entry->method = get16(p + 10);
	entry->crc = get32(p + 16);
	entry->stored = get32(p + 20);
	entry->size = get32(p + 24);
	at = get32(p + 42);
	if (get16(p + 8) & ENCRYPTED)
	{
		(void) stk_fail(err, STK_EINVAL, "the archive is encrypted");
		return NULL;
	}
	local = at <= files ? bytes + at : NULL;
	if (local == NULL || files - at < LOCAL_BYTES || get32(local) != LOCAL_MAGIC ||
		get16(local + 8) != entry->method || get16(local + 26) != entry->name_len)
	{
		(void) stk_fail(err, STK_EINVAL, "an entry is not where the archive's directory says");
		return NULL;
	}
	header = (size_t) LOCAL_BYTES + entry->name_len + get16(local + 28);
	if (files - at < header || files - at - header < entry->stored)
	{
		(void) stk_fail(err, STK_EINVAL, "an entry ends beyond the archive's directory");
		return NULL;
	}
	if (memcmp(local + LOCAL_BYTES, entry->name, entry->name_len) != 0)
	{
		(void) stk_fail(err, STK_EINVAL, "an entry and the archive's directory have other names");
		return NULL;
	}
	entry->data = local + header;
	return p + CENTRAL_BYTES + entry->name_len + get16(p + 30) + get16(p + 32);
}

static int
by_place(const void *a, const void *b)
{
	const stk_npz_entry *x = a;
	const stk_npz_entry *y = b;

	return (x->data > y->data) - (x->data < y->data);
}

/* Every entry's header and data end before the next entry's header. */
static stk_status
check_overlap(stk_npz *file, stk_error *err)
{
	if (file->n > 0)
		qsort(file->entries, file->n, sizeof(stk_npz_entry), by_place);
	for (size_t i = 1; i < file->n; i++)
	{
		const stk_npz_entry *before = &file->entries[i - 1];
		const stk_npz_entry *entry = &file->entries[i];

		if ((size_t) (entry->data - before->data) <
			(size_t) before->stored + LOCAL_BYTES + entry->name_len)
			return stk_fail(err, STK_EINVAL, "entries of the archive overlap");
	}
	return STK_OK;
}

stk_status
stk_npz_open(const uint8_t *bytes, size_t len, const stk_allocator *a, stk_npz *file,
			 stk_error *err)
{
	const uint8_t *end = find_end(bytes, len);
	const uint8_t *p;
	stk_status status;
	size_t size;
	size_t at;

	*file = (stk_npz){.a = a};
	if (end == NULL)
		return stk_fail(err, STK_EINVAL, "the file is not a zip archive");
	file->n = get16(end + 10);
	size = get32(end + 12);
	at = get32(end + 16);
	if (file->n == UINT16_MAX || size == UINT32_MAX || at == UINT32_MAX)
		return stk_fail(err, STK_EINVAL, "the archive is a zip64 archive");
	if (get16(end + 4) != 0 || get16(end + 6) != 0 || get16(end + 8) != file->n)
		return stk_fail(err, STK_EINVAL, "the archive has more than one part");
	if (at > (size_t) (end - bytes) || size != (size_t) (end - bytes) - at)
		return stk_fail(err, STK_EINVAL, "the archive's directory is not where its end says");

	file->entries = stk_alloc_array(a, file->n + 1, sizeof(stk_npz_entry));
	if (file->entries == NULL)
		return STK_ENOMEM;
	p = bytes + at;
	for (size_t i = 0; i < file->n && p != NULL; i++)
		p = read_entry(bytes, bytes + at, p, end, &file->entries[i], err);
	status = p == NULL ? STK_EINVAL : STK_OK;
	if (p != NULL && p != end)
		status = stk_fail(err, STK_EINVAL, "the archive's directory is not valid");
	if (status == STK_OK)
		status = check_overlap(file, err);
	if (status != STK_OK)
		stk_npz_close(file);
	return status;
}

void
stk_npz_close(stk_npz *file)
{
	stk_free(file->a, file->entries);
	file->entries = NULL;
	file->n = 0;
}

/* The entry of an array, from the number `from` on; file->n when there is none. */
static size_t
find_entry(const stk_npz *file, const char *name, size_t from)
{
	size_t n = strlen(name);
	size_t i;

	for (i = from; i < file->n; i++)
		if (file->entries[i].name_len == n + strlen(suffix) &&
			memcmp(file->entries[i].name, name, n) == 0 &&
			memcmp(file->entries[i].name + n, suffix, strlen(suffix)) == 0)
			break;
	return i;
}

bool
stk_npz_has(const stk_npz *file, const char *name)
{
	return find_entry(file, name, 0) < file->n;
}

stk_status
stk_npz_array(const stk_npz *file, const char *name, const stk_monitor *monitor, stk_npy *array,
			  stk_error *err)
{
	size_t at = find_entry(file, name, 0);
	const stk_npz_entry *entry = &file->entries[at];
	stk_status status;
	uint32_t crc = 0;

	if (at == file->n)
		return stk_fail(err, STK_EINVAL, "array \"%s\" is missing", name);
	if (find_entry(file, name, at + 1) < file->n)
		return stk_fail(err, STK_EINVAL, "array \"%s\" is there twice", name);
	if (entry->method != 0)
		return stk_fail(err, STK_EINVAL,
						"array \"%s\" is compressed: write the file by numpy.savez, not "
						"savez_compressed",
						name);
	if (entry->stored != entry->size)
		return stk_fail(err, STK_EINVAL, "sizes of array \"%s\" contradict each other", name);
	status = crc_of(entry->data, entry->size, monitor, &crc);
	if (status != STK_OK)
		return status;
	if (crc != entry->crc)
		return stk_fail(err, STK_EINVAL, "array \"%s\" is damaged: its checksum is wrong", name);
	memset(array, 0, sizeof(*array));
	strncpy(array->name, name, sizeof(array->name) - 1);
	return stk_npy_read(entry->data, entry->size, array, err);
}
