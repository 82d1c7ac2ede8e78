#include "postgres.h"

#include "types/flatjson.h"

#include "common/base64.h"
#include "common/jsonapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/jsonfuncs.h"

#include "compat.h"

typedef struct ParseState
{
	const char *type;
	FlatJsonKey *keys;
	int nkeys;
	int depth;        /* of objects and arrays */
	FlatJsonKey *key; /* whose value is being read */
} ParseState;

void
FlatJsonError(const char *type, const char *detail)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_TEXT_REPRESENTATION),
			 errmsg("invalid input syntax for type %s", type), errdetail_internal("%s", detail)));
}

static void
ValueError(const ParseState *state)
{
	static const char *const expected[] = {
		[FLAT_JSON_NUMBER] = "a number",
		[FLAT_JSON_NUMBERS] = "an array of numbers",
		[FLAT_JSON_STRING] = "a string",
	};

	if (state->depth == 0)
		FlatJsonError(state->type, "Expected a JSON object.");
	FlatJsonError(state->type, psprintf("Expected %s for key \"%s\".", expected[state->key->kind],
										state->key->name));
}

static SemtokJsonResult
ObjectStart(void *arg)
{
	ParseState *state = arg;

	if (state->depth > 0)
		ValueError(state);
	state->depth++;
	SEMTOK_JSON_SUCCESS;
}

static SemtokJsonResult
FieldStart(void *arg, char *name, bool isnull)
{
	ParseState *state = arg;

	state->key = NULL;
	for (int i = 0; i < state->nkeys; i++)
		if (strcmp(name, state->keys[i].name) == 0)
			state->key = &state->keys[i];
	if (state->key == NULL)
		FlatJsonError(state->type, psprintf("Unknown key \"%s\".", name));
	if (state->key->seen)
		FlatJsonError(state->type, psprintf("Key \"%s\" appears twice.", name));
	state->key->seen = true;
	SEMTOK_JSON_SUCCESS;
}

static SemtokJsonResult
ArrayStart(void *arg)
{
	ParseState *state = arg;

	if (state->depth != 1 || state->key->kind != FLAT_JSON_NUMBERS)
		ValueError(state);
	state->depth++;
	SEMTOK_JSON_SUCCESS;
}

static SemtokJsonResult
ContainerEnd(void *arg)
{
	((ParseState *) arg)->depth--;
	SEMTOK_JSON_SUCCESS;
}

static SemtokJsonResult
Scalar(void *arg, char *token, JsonTokenType type)
{
	ParseState *state = arg;
	FlatJsonKey *key = state->key;

	if (state->depth == 2 && type == JSON_TOKEN_NUMBER)
	{
		if (key->n == STK_MAX_LEVELS)
			FlatJsonError(state->type, psprintf("Expected at most %d numbers for key \"%s\".",
												STK_MAX_LEVELS, key->name));
		key->numbers[key->n++] = pg_strtoint32(token);
	}
	else if (state->depth == 1 && key->kind == FLAT_JSON_NUMBER && type == JSON_TOKEN_NUMBER)
		key->number = pg_strtoint32(token);
	else if (state->depth == 1 && key->kind == FLAT_JSON_STRING && type == JSON_TOKEN_STRING)
		key->string = token;
	else
		ValueError(state);
	SEMTOK_JSON_SUCCESS;
}

void
FlatJsonParse(const char *type, char *text, FlatJsonKey *keys, int nkeys)
{
	ParseState state = {.type = type, .keys = keys, .nkeys = nkeys};
	JsonSemAction actions = {0};

	actions.semstate = &state;
	actions.object_start = ObjectStart;
	actions.object_end = ContainerEnd;
	actions.object_field_start = FieldStart;
	actions.array_start = ArrayStart;
	actions.array_end = ContainerEnd;
	actions.scalar = Scalar;
	pg_parse_json_or_ereport(SemtokJsonLexContext(text, (int) strlen(text)), &actions);
	for (int i = 0; i < nkeys; i++)
		if (!keys[i].seen && !keys[i].optional)
			FlatJsonError(type, psprintf("Key \"%s\" is missing.", keys[i].name));
}

char *
FlatJsonDecode(const char *type, FlatJsonKey *key, int *len)
{
	int text_len = (int) strlen(key->string);
	int capacity = pg_b64_dec_len(text_len);
	char *bytes = palloc(capacity);

	*len = pg_b64_decode(key->string, text_len, (SemtokBase64Byte *) bytes, capacity);
	if (*len < 0)
		FlatJsonError(type, psprintf("Key \"%s\" is not valid base64.", key->name));
	pfree(key->string);
	key->string = NULL;
	return bytes;
}

void
FlatJsonAppendBase64(StringInfo out, const char *bytes, int len)
{
	int capacity = pg_b64_enc_len(len);

	enlargeStringInfo(out, capacity);
	out->len +=
		pg_b64_encode((const SemtokBase64Byte *) bytes, len, out->data + out->len, capacity);
	out->data[out->len] = '\0';
}
