/*
 * semtok.import_safetensors and semtok.export_safetensors: a tokenizer from and to a file.
 */
#include "postgres.h"

#include <math.h>

#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "tokenizer/args.h"
#include "tokenizer/import.h"
#include "tokenizer/train_options.h"
#include "types/bridge.h"
#include "types/codebook_safetensors.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/numeric.h"

PG_FUNCTION_INFO_V1(semtok_import_safetensors);
PG_FUNCTION_INFO_V1(semtok_export_safetensors_id);
PG_FUNCTION_INFO_V1(semtok_export_safetensors_name);

#define IMPORT_MAX_FIRST 1000000

/* The argument config. */
typedef struct ImportConfig
{
	CodebookNames names;
	const char *metric; /* NULL: the file's */
	Jsonb *options;     /* NULL: the file's */
} ImportConfig;

static void
ConfigRefuse(const char *name, const char *expected)
{
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("expected %s as \"%s\" of config", expected, name)));
}

static char *
ConfigString(const char *name, const JsonbValue *value)
{
	if (value->type != jbvString)
		ConfigRefuse(name, "a string");
	return pnstrdup(value->val.string.val, value->val.string.len);
}

/* The name of a tensor, or of one for each level. */
static char *
ConfigTensorName(const char *name, const JsonbValue *value)
{
	char *tensor = ConfigString(name, value);
	const char *mark = strstr(tensor, CODEBOOK_LEVEL_MARK);

	if (mark && strstr(mark + 1, CODEBOOK_LEVEL_MARK))
		ConfigRefuse(name, "a tensor's name with " CODEBOOK_LEVEL_MARK " once");
	/* The format's names are UTF-8. */
	return pg_server_to_any(tensor, (int) strlen(tensor), PG_UTF8);
}

/* The name of a network's layers. */
static char *
ConfigLayerName(const char *name, const JsonbValue *value)
{
	char *tensor = ConfigTensorName(name, value);

	if (!strstr(tensor, CODEBOOK_LEVEL_MARK))
		ConfigRefuse(name, "the name of layers with " CODEBOOK_LEVEL_MARK " once");
	return tensor;
}

static int
ConfigFirst(const char *name, const JsonbValue *value)
{
	double first = -1;

	if (value->type == jbvNumeric)
		first = DatumGetFloat8(
			DirectFunctionCall1(numeric_float8_no_overflow, NumericGetDatum(value->val.numeric)));
	if (!(first >= 0 && first <= IMPORT_MAX_FIRST) || first != floor(first))
		ConfigRefuse(name, psprintf("a whole number from 0 to %d", IMPORT_MAX_FIRST));
	return (int) first;
}

static void
ConfigReadKey(const char *name, JsonbValue *value, ImportConfig *config)
{
	if (strcmp(name, "metric") == 0)
		config->metric = ConfigString(name, value);
	else if (strcmp(name, "codebooks") == 0)
		config->names.codebooks = ConfigTensorName(name, value);
	else if (strcmp(name, "counts") == 0)
		config->names.counts = ConfigTensorName(name, value);
	else if (strcmp(name, "first") == 0)
		config->names.first = ConfigFirst(name, value);
	else if (strcmp(name, "encoder") == 0 && value->type == jbvNull)
		config->names.no_network = true;
	else if (strcmp(name, "encoder") == 0)
		config->names.encoder = ConfigLayerName(name, value);
	else if (strcmp(name, "decoder") == 0)
		config->names.decoder = ConfigLayerName(name, value);
	else if (strcmp(name, "activation") == 0)
		config->names.activation = ConfigString(name, value);
	else if (strcmp(name, "options") == 0)
		config->options = JsonbValueToJsonb(value);
	else
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("unknown key \"%s\" of config", name),
						errhint("The keys are metric, codebooks, counts, first, encoder, decoder, "
								"activation and options.")));
}

static void
ConfigRead(const Jsonb *jsonb, ImportConfig *config)
{
	JsonbIterator *it;
	JsonbValue key;
	JsonbValue value;

	if (!JB_ROOT_IS_OBJECT(jsonb))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("expected a JSON object as config")));
	it = JsonbIteratorInit(&((Jsonb *) jsonb)->root);
	(void) JsonbIteratorNext(&it, &key, true);
	while (JsonbIteratorNext(&it, &key, true) == WJB_KEY)
	{
		(void) JsonbIteratorNext(&it, &value, true);
		ConfigReadKey(pnstrdup(key.val.string.val, key.val.string.len), &value, config);
	}
}

/* How the tokenizer was made, by config or else by the file. */
static Jsonb *
ImportFileOptions(const ImportConfig *config, const stk_safetensors *file)
{
	char *text;

	if (config->options)
		return config->options;
	if (!file->options)
		return ImportNoOptions();
	text = pg_any_to_server(file->options, (int) strlen(file->options), PG_UTF8);
	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

/* semtok.import_safetensors(name text, file bytea, config jsonb, id int) */
Datum
semtok_import_safetensors(PG_FUNCTION_ARGS)
{
	NewTokenizer tokenizer = {.name = ArgText(fcinfo, 0, "name"), .id = ImportArgId(fcinfo, 3)};
	stk_allocator a = SemtokAllocator(CurrentMemoryContext);
	ImportConfig config = {0};
	stk_metric metric = STK_L2;
	stk_safetensors file;
	struct varlena *codebook;
	stk_codebook cb;

	ArgRequire(fcinfo, 1, "file");
	if (!PG_ARGISNULL(2))
		ConfigRead(PG_GETARG_JSONB_P(2), &config);
	TokenizerCheckWritable("semtok.import_safetensors()", tokenizer.name);

	CodebookReadFile(PG_GETARG_BYTEA_PP(1), &a, &file);
	if (config.metric)
		metric = CodebookParseMetric(config.metric);
	else if (file.metric)
		metric = CodebookParseMetric(file.metric);
	tokenizer.options = ImportFileOptions(&config, &file);
	TrainOptionsCheckImported(tokenizer.options);
	codebook = CodebookFromFile(&file, &config.names, metric);
	CodebookReadView(codebook, &cb);
	tokenizer.codebook = PointerGetDatum(codebook);
	tokenizer.counts = CodebookFileCounts(&file, &config.names, cb.levels, cb.sizes);
	stk_safetensors_free(&file);
	PG_RETURN_INT32(ImportInsert(&tokenizer));
}

static Datum
ExportFile(const TokenizerInfo *info)
{
	CodebookEntry *entry = TokenizerCodebook(info, CurrentMemoryContext);

	return PointerGetDatum(
		CodebookMakeFile(CodebookView(entry), TokenizerCounts(info), TokenizerOptionsText(info)));
}

/* semtok.export_safetensors(tokenizer int) */
Datum
semtok_export_safetensors_id(PG_FUNCTION_ARGS)
{
	TokenizerInfo info;

	TokenizerGetById(PG_GETARG_INT32(0), &info);
	return ExportFile(&info);
}

/* semtok.export_safetensors(name text) */
Datum
semtok_export_safetensors_name(PG_FUNCTION_ARGS)
{
	TokenizerInfo info;

	TokenizerGetByName(text_to_cstring(PG_GETARG_TEXT_PP(0)), 0, &info);
	return ExportFile(&info);
}
