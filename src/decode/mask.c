/*
 * Masks for a model outside: for each prefix the tokens that may follow, as bits.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "fmgr.h"
#include "utils/memutils.h"
#include "utils/varbit.h"

#include "core/mask.h"
#include "decode/prefixes.h"
#include "types/bridge.h"
#include "types/semid.h"
#include "types/semset.h"
#include "types/sizes.h"

PG_FUNCTION_INFO_V1(semtok_mask);
PG_FUNCTION_INFO_V1(semtok_mask_set);
PG_FUNCTION_INFO_V1(semtok_mask_packed);
PG_FUNCTION_INFO_V1(semtok_mask_packed_set);

/* The longest that a column of type bit can be. */
#define MAX_BITS (MaxAttrSize * BITS_PER_BYTE)

/* The result while it is filled: rows of bits, one for each prefix, at equal distances. */
typedef struct MaskRows
{
	stk_mask_form form;
	uint8 *rows;
	Size stride;
	Size row_bytes; /* of the bits themselves */
	int n;
	int64 filled;             /* the row that was filled last, -1: none */
	const stk_prefix *prefix; /* its prefix */
} MaskRows;

static void
begin_rows(void *ctx)
{
	MaskRows *mask = ctx;

	for (int i = 0; i < mask->n; i++)
		memset(mask->rows + i * mask->stride, 0, mask->row_bytes);
	mask->filled = -1;
}

static bool
same_prefix(const stk_prefix *a, const stk_prefix *b)
{
	return a->tokenizer == b->tokenizer && a->levels == b->levels &&
		   memcmp(a->codes, b->codes, a->levels * sizeof(uint16)) == 0;
}

static stk_status
fill_row(void *ctx, const PrefixChunk *chunk, size_t prefix, const stk_child *at,
		 const stk_child *children, size_t n, stk_error *err)
{
	MaskRows *mask = ctx;
	const stk_prefix *asked = &chunk->prefixes[prefix];
	int64 number = chunk->first + (int64) prefix;
	uint8 *row = mask->rows + number * mask->stride;

	/*
	 * Many of a batch begin alike. Equal prefixes are found one after the other, in each root that has
	 * them: the first gets the bits of all roots, the others its row.
	 */
	if (mask->filled >= chunk->first && mask->filled != number && same_prefix(mask->prefix, asked))
	{
		memcpy(row, mask->rows + mask->filled * mask->stride, mask->row_bytes);
		return STK_OK;
	}
	mask->filled = number;
	mask->prefix = asked;
	return stk_mask_row(&mask->form, asked->levels, at, children, n, row, err);
}

/* vocab, offsets and end_token: arguments 2 to 4. */
static void
read_form(FunctionCallInfo fcinfo, stk_mask_form *form)
{
	int32 vocab = PG_GETARG_INT32(2);

	if (vocab < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("vocab must be at least 1, not %d", vocab)));
	form->tokens.vocab = (uint32) vocab;
	OffsetsArg(fcinfo, 3, &form->tokens);
	form->end_token = STK_MASK_NO_END;
	if (!PG_ARGISNULL(4))
	{
		int32 end = PG_GETARG_INT32(4);

		if (end < 0 || end >= vocab)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("end_token must be from 0 to %d, below vocab, not %d", vocab - 1,
								   end)));
		form->end_token = (uint32) end;
	}
}

/* Memory for a result of so many rows behind a header; 54000 when no value may be so large. */
static void *
allocate_result(Size header, const MaskRows *mask)
{
	if (mask->n > 0 && mask->stride > (MaxAllocSize - header) / mask->n)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("the masks of %d prefixes over %u tokens would take more than %zu "
							   "bytes",
							   mask->n, mask->form.tokens.vocab, (Size) MaxAllocSize),
						errhint("Ask for fewer prefixes in a call.")));
	return palloc(header + mask->n * mask->stride);
}

/* bit varying[]: the array is made as it will be returned, so that nothing is copied. */
static Datum
make_bits(MaskRows *mask)
{
	int vocab = (int) mask->form.tokens.vocab;
	ArrayType *array;

	if (vocab > MAX_BITS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("vocab must be at most %d for type bit, not %d", MAX_BITS, vocab)));
	if (mask->n == 0)
		return PointerGetDatum(construct_empty_array(VARBITOID));
	mask->form.first_high = true;
	mask->row_bytes = VARBITTOTALLEN(vocab) - VARHDRSZ - VARBITHDRSZ;
	mask->stride = INTALIGN(VARBITTOTALLEN(vocab));
	array = allocate_result(ARR_OVERHEAD_NONULLS(1), mask);
	SET_VARSIZE(array, ARR_OVERHEAD_NONULLS(1) + mask->n * mask->stride);
	array->ndim = 1;
	array->dataoffset = 0;
	array->elemtype = VARBITOID;
	ARR_DIMS(array)[0] = mask->n;
	ARR_LBOUND(array)[0] = 1;
	for (int i = 0; i < mask->n; i++)
	{
		VarBit *bits = (VarBit *) (ARR_DATA_PTR(array) + i * mask->stride);

		memset((char *) bits + mask->stride - sizeof(int32), 0, sizeof(int32)); /* padding */
		SET_VARSIZE(bits, VARBITTOTALLEN(vocab));
		VARBITLEN(bits) = vocab;
	}
	mask->rows = (uint8 *) VARBITS((VarBit *) ARR_DATA_PTR(array));
	return PointerGetDatum(array);
}

/* bytea: rows of 32-bit words, little-endian, without anything between them. */
static Datum
make_words(MaskRows *mask)
{
	bytea *out;

	mask->row_bytes = mask->stride = ((Size) mask->form.tokens.vocab + 31) / 32 * sizeof(uint32);
	out = allocate_result(VARHDRSZ, mask);
	SET_VARSIZE(out, VARHDRSZ + mask->n * mask->stride);
	mask->rows = (uint8 *) VARDATA(out);
	return PointerGetDatum(out);
}

/*
 * The verb (items, prefixes semid[], vocab int, offsets int[], end_token int, tokenizer int,
 * within semset, exclude semset); null where items, prefixes, vocab or tokenizer are.
 */
static Datum
make_mask(FunctionCallInfo fcinfo, const char *name, bool items, Datum (*make)(MaskRows *))
{
	MaskRows mask = {0};
	PrefixVerb verb = {
		.name = name, .codes_alone = true, .ctx = &mask, .begin = begin_rows, .found = fill_row};
	Datum result;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1) || PG_ARGISNULL(2) || PG_ARGISNULL(5))
	{
		fcinfo->isnull = true;
		return (Datum) 0;
	}
	read_form(fcinfo, &mask.form);
	verb.prefixes = PrefixesArg(fcinfo, 1, &mask.n);
	verb.tokenizer = SemidTokenizerArg(PG_GETARG_INT32(5));
	if (!PG_ARGISNULL(6))
		verb.within = SemsetView(PG_GETARG_DATUM(6), CurrentMemoryContext);
	if (!PG_ARGISNULL(7))
		verb.exclude = SemsetView(PG_GETARG_DATUM(7), CurrentMemoryContext);
	result = make(&mask);
	if (items)
		PrefixesOfItems(PG_GETARG_OID(0), &verb);
	else
		PrefixesOfSet(SemsetArg(fcinfo, 0), &verb);
	return result;
}

Datum
semtok_mask(PG_FUNCTION_ARGS)
{
	return make_mask(fcinfo, "mask", true, make_bits);
}

Datum
semtok_mask_set(PG_FUNCTION_ARGS)
{
	return make_mask(fcinfo, "mask_set", false, make_bits);
}

Datum
semtok_mask_packed(PG_FUNCTION_ARGS)
{
	return make_mask(fcinfo, "mask_packed", true, make_words);
}

Datum
semtok_mask_packed_set(PG_FUNCTION_ARGS)
{
	return make_mask(fcinfo, "mask_packed_set", false, make_words);
}
