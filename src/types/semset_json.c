/*
 * semset: export to the JSON files of recommendation models. A set has no items, so that each id
 * stands for one item, numbered from 0 in the ids' order.
 */
#include "postgres.h"

#include "types/semset.h"

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"

/* Interrupts are checked after this many ids. */
#define STEP 4096

/* LC-Rec's tokens name their level by a letter. */
#define LETTERS 26

/* index.json: "0": ["<a_12>", "<b_7>", …] */
static void
AppendIndex(StringInfo out, uint32 item, const stk_semid *id)
{
	appendStringInfo(out, "\"%u\": [", item);
	for (int l = 0; l < id->levels; l++)
		appendStringInfo(out, "%s\"<%c_%d>\"", l > 0 ? ", " : "", 'a' + l, id->codes[l]);
	appendStringInfoChar(out, ']');
}

/* sid2pid: "12,7,255": [0] */
static void
AppendSid(StringInfo out, uint32 item, const stk_semid *id)
{
	for (int l = 0; l < id->levels; l++)
		appendStringInfo(out, "%c%d", l > 0 ? ',' : '"', id->codes[l]);
	appendStringInfo(out, "\": [%u]", item);
}

/* semset_to_json(ids semset, format text) */
PG_FUNCTION_INFO_V1(semset_to_json);
Datum
semset_to_json(PG_FUNCTION_ARGS)
{
	const stk_semset *set = SemsetView(PG_GETARG_DATUM(0), CurrentMemoryContext);
	const char *format = text_to_cstring(PG_GETARG_TEXT_PP(1));
	bool index = strcmp(format, "index.json") == 0;
	stk_semset_iter it;
	stk_semid id;
	StringInfoData out;

	if (!index && strcmp(format, "sid2pid") != 0)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("unknown format \"%s\"", format),
				 errhint("Formats are index.json and sid2pid.")));
	if (set->roots > 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected semantic IDs of one tokenizer, not of %u", set->roots),
						errdetail("The file has no place for the tokenizer.")));
	if (index && set->depth > LETTERS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("index.json has letters for %d levels, not for %d", LETTERS, set->depth)));
	initStringInfo(&out);
	appendStringInfoChar(&out, '{');
	stk_semset_iter_init(&it, set);
	for (uint32 i = 0; stk_semset_iter_next(&it, &id); i++)
	{
		if (i % STEP == 0)
			CHECK_FOR_INTERRUPTS();
		if (i > 0)
			appendStringInfoString(&out, ", ");
		if (index)
			AppendIndex(&out, i, &id);
		else
			AppendSid(&out, i, &id);
	}
	appendStringInfoChar(&out, '}');
	PG_RETURN_TEXT_P(cstring_to_text_with_len(out.data, out.len));
}
