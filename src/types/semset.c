/*
 * semset: text and binary I/O, size, members, membership.
 *
 * Text is the ids in ascending order, {[1,2],[3]@7}, in any order and repeated on input; {} is
 * the empty set.
 */
#include "postgres.h"

#include "types/semset.h"

#include <ctype.h>

#include "funcapi.h"
#include "lib/stringinfo.h"
#include "libpq/pqformat.h"
#include "miscadmin.h"
#include "utils/builtins.h"

#include "types/bridge.h"
#include "types/funcarg.h"
#include "types/semid.h"

/* Interrupts are checked after reading or printing this many ids. */
#define TEXT_STEP 4096

#define PG_GETARG_SEMSET_P(n) ((struct varlena *) PG_DETOAST_DATUM(PG_GETARG_DATUM(n)))

static void
ReadView(struct varlena *v, stk_semset *view)
{
	stk_error err = {0};
	stk_status status =
		stk_semset_view((const uint8 *) VARDATA(v), VARSIZE(v) - VARHDRSZ, view, &err);

	if (status != STK_OK)
		SemtokReportStatus(status, &err, "could not read semset");
}

const stk_semset *
SemsetView(Datum semset, MemoryContext context)
{
	MemoryContext old = MemoryContextSwitchTo(context);
	stk_semset *view = palloc(sizeof(stk_semset));

	ReadView((struct varlena *) PG_DETOAST_DATUM(semset), view);
	MemoryContextSwitchTo(old);
	return view;
}

typedef struct ArgState
{
	FuncArg arg;
	stk_semset view;
} ArgState;

const stk_semset *
SemsetArg(FunctionCallInfo fcinfo, int argno)
{
	ArgState *state = fcinfo->flinfo->fn_extra;
	struct varlena *v;
	bool same;

	if (!state)
		fcinfo->flinfo->fn_extra = state =
			MemoryContextAllocZero(fcinfo->flinfo->fn_mcxt, sizeof(ArgState));
	v = FuncArgDetoast(&state->arg, fcinfo, argno, &same);
	if (!same)
		ReadView(v, &state->view);
	return &state->view;
}

static void
SyntaxError(const char *detail)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
					errmsg("invalid input syntax for type %s", "semset"),
					errdetail_internal("%s", detail)));
}

static const char *
SkipSpace(const char *p)
{
	while (isspace((unsigned char) *p))
		p++;
	return p;
}

PG_FUNCTION_INFO_V1(semset_in);
Datum
semset_in(PG_FUNCTION_ARGS)
{
	const char *p = SkipSpace(PG_GETARG_CSTRING(0));
	SemsetBuilder *builder = SemsetBuilderCreate(CurrentMemoryContext);

	if (*p != '{')
		SyntaxError("Expected {.");
	p = SkipSpace(p + 1);
	while (*p != '}' || builder->n > 0)
	{
		size_t len = strcspn(p, "]");
		uint8 bytes[STK_SEMID_MAX_BYTES];
		stk_semid id;
		stk_error err = {0};

		if (builder->n % TEXT_STEP == 0)
			CHECK_FOR_INTERRUPTS();
		/* The id goes on behind its bracket with its tokenizer. */
		len += strcspn(p + len, ",}");
		if (stk_semid_parse(p, len, &id, &err) != STK_OK)
			SyntaxError(
				psprintf("Semantic ID number %zu: %s", builder->n + 1, SemtokErrorSentence(&err)));
		SemsetBuilderAdd(builder, bytes, stk_semid_pack(&id, bytes));
		p = SkipSpace(p + len);
		if (*p != ',')
			break;
		p++;
	}
	if (*p != '}')
		SyntaxError("Expected , or }.");
	if (*SkipSpace(p + 1) != '\0')
		SyntaxError("Unexpected characters after }.");
	PG_RETURN_POINTER(SemsetBuilderFinish(builder));
}

PG_FUNCTION_INFO_V1(semset_out);
Datum
semset_out(PG_FUNCTION_ARGS)
{
	struct varlena *v = PG_GETARG_SEMSET_P(0);
	stk_semset set;
	stk_semset_iter it;
	stk_semid id;
	char text[STK_SEMID_MAX_TEXT];
	StringInfoData out;

	ReadView(v, &set);
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	stk_semset_iter_init(&it, &set);
	for (uint32 i = 0; stk_semset_iter_next(&it, &id); i++)
	{
		if (i % TEXT_STEP == 0)
			CHECK_FOR_INTERRUPTS();
		if (i > 0)
			appendStringInfoChar(&out, ',');
		appendBinaryStringInfo(&out, text, (int) stk_semid_print(&id, text));
	}
	appendStringInfoChar(&out, '}');
	PG_RETURN_CSTRING(out.data);
}

/* The binary form is the stored form. */
PG_FUNCTION_INFO_V1(semset_recv);
Datum
semset_recv(PG_FUNCTION_ARGS)
{
	StringInfo buf = (StringInfo) PG_GETARG_POINTER(0);
	int len = buf->len - buf->cursor;
	struct varlena *v = palloc((Size) VARHDRSZ + len);
	stk_error err = {0};

	SET_VARSIZE(v, (Size) VARHDRSZ + len);
	pq_copymsgbytes(buf, VARDATA(v), len);
	if (stk_semset_check((const uint8 *) VARDATA(v), len, &err) != STK_OK)
		ereport(ERROR, (errcode(ERRCODE_INVALID_BINARY_REPRESENTATION),
						errmsg("invalid binary representation of a semset"),
						errdetail_internal("%s", SemtokErrorSentence(&err))));
	PG_RETURN_POINTER(v);
}

PG_FUNCTION_INFO_V1(semset_send);
Datum
semset_send(PG_FUNCTION_ARGS)
{
	/* A bytea of the stored form has the very layout of the datum. */
	PG_RETURN_BYTEA_P((bytea *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0)));
}

PG_FUNCTION_INFO_V1(semset_size);
Datum
semset_size(PG_FUNCTION_ARGS)
{
	stk_semset set;

	ReadView(PG_GETARG_SEMSET_P(0), &set);
	PG_RETURN_INT64(set.ids);
}

PG_FUNCTION_INFO_V1(semset_nodes);
Datum
semset_nodes(PG_FUNCTION_ARGS)
{
	stk_semset set;

	ReadView(PG_GETARG_SEMSET_P(0), &set);
	PG_RETURN_INT64(set.total_nodes);
}

/* Where semset_members stands. */
typedef struct MembersState
{
	stk_semset set;
	stk_semset_iter it;
} MembersState;

PG_FUNCTION_INFO_V1(semset_members);
Datum
semset_members(PG_FUNCTION_ARGS)
{
	FuncCallContext *call;
	MembersState *state;
	stk_semid id;

	if (SRF_IS_FIRSTCALL())
	{
		MemoryContext old;

		call = SRF_FIRSTCALL_INIT();
		old = MemoryContextSwitchTo(call->multi_call_memory_ctx);
		state = palloc(sizeof(MembersState));
		ReadView((struct varlena *) PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0)), &state->set);
		stk_semset_iter_init(&state->it, &state->set);
		call->user_fctx = state;
		MemoryContextSwitchTo(old);
	}
	call = SRF_PERCALL_SETUP();
	state = call->user_fctx;
	if (!stk_semset_iter_next(&state->it, &id))
		SRF_RETURN_DONE(call);
	SRF_RETURN_NEXT(call, SemidMakeDatum(&id));
}

/* semid <@ semset */
PG_FUNCTION_INFO_V1(semid_in_semset);
Datum
semid_in_semset(PG_FUNCTION_ARGS)
{
	struct varlena *id = PG_GETARG_SEMID_PP(0);
	const stk_semset *set = SemsetArg(fcinfo, 1);

	PG_RETURN_BOOL(stk_semset_contains(set, SemidBytes(id), SemidLength(id)));
}
