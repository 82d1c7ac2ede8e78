/*
 * semset: union, intersection, difference.
 */
#include "postgres.h"

#include "types/semset.h"

#include "core/set_algebra.h"
#include "types/bridge.h"

static Datum
Combine(FunctionCallInfo fcinfo, stk_set_op op)
{
	const stk_semset *a = SemsetView(PG_GETARG_DATUM(0), CurrentMemoryContext);
	const stk_semset *b = SemsetView(PG_GETARG_DATUM(1), CurrentMemoryContext);
	stk_allocator allocator = SemtokAllocator(CurrentMemoryContext);
	stk_error err = {0};
	stk_status status;
	uint8 *bytes;
	size_t len;

	status = stk_semset_combine(a, b, op, VARHDRSZ, &allocator, &SemtokMonitor, &bytes, &len, &err);
	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not combine semsets");
	PG_RETURN_POINTER(SemsetFromBytes(bytes, len));
}

PG_FUNCTION_INFO_V1(semset_union);
Datum
semset_union(PG_FUNCTION_ARGS)
{
	return Combine(fcinfo, STK_SET_UNION);
}

PG_FUNCTION_INFO_V1(semset_intersect);
Datum
semset_intersect(PG_FUNCTION_ARGS)
{
	return Combine(fcinfo, STK_SET_INTERSECT);
}

PG_FUNCTION_INFO_V1(semset_except);
Datum
semset_except(PG_FUNCTION_ARGS)
{
	return Combine(fcinfo, STK_SET_EXCEPT);
}
