/*
 * semset: export to and import from NumPy files that inference servers load.
 */
#include "postgres.h"

#include "types/semset.h"

#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"

#include "core/csr.h"
#include "types/bridge.h"
#include "types/sizes.h"

/* Interrupts are checked after zeroing this many bytes. */
#define ZERO_STEP ((Size) 1 << 20)

static stk_csr_layout
ParseLayout(const char *name)
{
	if (strcmp(name, "static") == 0)
		return STK_CSR_STATIC;
	if (strcmp(name, "rectokens") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown layout \"%s\"", name),
				 errhint("Layouts are static and rectokens.")));
	return STK_CSR_RECTOKENS;
}

/*
 * Room for a file of zeros. Dense tables may be large: the first touch of their pages takes long.
 */
static bytea *
AllocateZeros(Size size)
{
	bytea *out = palloc(VARHDRSZ + size);

	SET_VARSIZE(out, VARHDRSZ + size);
	for (Size at = 0; at < size; at += ZERO_STEP)
	{
		CHECK_FOR_INTERRUPTS();
		memset(VARDATA(out) + at, 0, Min(size - at, ZERO_STEP));
	}
	return out;
}

/*
 * semset_to_npz(ids semset, vocab int, dense_layers int, layout text, offsets int[],
 * dense_bytes bigint)
 */
PG_FUNCTION_INFO_V1(semset_to_npz);
Datum
semset_to_npz(PG_FUNCTION_ARGS)
{
	static const char what[] = "could not export semset";
	const stk_semset *set;
	stk_csr_tokens tokens;
	stk_csr csr;
	stk_error err = {0};
	stk_status status;
	uint64 size;
	int64 dense_bytes;
	bytea *out;

	for (int i = 0; i < 6; i++)
		if (i != 4 && PG_ARGISNULL(i))
			PG_RETURN_NULL();
	if (PG_GETARG_INT32(1) < 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("vocab must be at least 1, not %d", PG_GETARG_INT32(1))));
	dense_bytes = PG_GETARG_INT64(5);
	if (dense_bytes < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("dense_bytes must not be negative")));
	tokens.vocab = (uint32) PG_GETARG_INT32(1);
	OffsetsArg(fcinfo, 4, &tokens);
	set = SemsetView(PG_GETARG_DATUM(0), CurrentMemoryContext);
	status = stk_csr_plan(set, ParseLayout(text_to_cstring(PG_GETARG_TEXT_PP(3))), &tokens,
						  PG_GETARG_INT32(2), (uint64) dense_bytes, &csr, &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, what);

	size = stk_npz_size(csr.arrays, csr.n_arrays);
	if (size > MaxAllocSize - VARHDRSZ)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("the file would be larger than %zu bytes", (Size) MaxAllocSize)));
	out = AllocateZeros((Size) size);
	stk_npz_begin(csr.arrays, csr.n_arrays, (uint8 *) VARDATA(out));
	for (int i = 0; i < csr.n_arrays && status == STK_OK; i++)
		status = stk_csr_fill(&csr, i, &SemtokMonitor);
	if (status == STK_OK)
		status = stk_npz_end(csr.arrays, csr.n_arrays, (uint8 *) VARDATA(out), &SemtokMonitor);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, what);
	PG_RETURN_BYTEA_P(out);
}

/* semset_from_npz(file bytea, tokenizer int, offsets int[]) */
PG_FUNCTION_INFO_V1(semset_from_npz);
Datum
semset_from_npz(PG_FUNCTION_ARGS)
{
	stk_allocator a = SemtokAllocator(CurrentMemoryContext);
	stk_csr_tokens tokens = {0};
	stk_error err = {0};
	stk_status status;
	stk_npz file;
	uint8 *bytes;
	size_t len;
	int32 tokenizer;
	bytea *in;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	tokenizer = PG_GETARG_INT32(1);
	if (tokenizer < 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("tokenizer must be between 0 and 2147483647, not %d", tokenizer)));
	OffsetsArg(fcinfo, 2, &tokens);
	in = PG_GETARG_BYTEA_PP(0);
	status = stk_npz_open((const uint8 *) VARDATA_ANY(in), VARSIZE_ANY_EXHDR(in), &a, &file, &err);
	if (status == STK_OK)
		status = stk_csr_read(&file, &tokens, (uint32) tokenizer, VARHDRSZ, &a, &SemtokMonitor,
							  &bytes, &len, &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "invalid npz file");
	stk_npz_close(&file);
	PG_FREE_IF_COPY(in, 0);
	PG_RETURN_POINTER(SemsetFromBytes(bytes, len));
}
