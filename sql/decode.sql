-- Decoding verbs: constrained search over the items of a table, an index or a set.

CREATE FUNCTION semtok.neighbors(tokenizer int, embedding real[])
RETURNS @extschema@.semquery
AS 'MODULE_PATHNAME', 'semtok_neighbors_id'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000
SUPPORT @extschema@.semtok_embedding_support;
COMMENT ON FUNCTION semtok.neighbors(int, real[]) IS
'query by example: squared distance between the embedding and the item''s reconstruction by this tokenizer';

CREATE FUNCTION semtok.neighbors(name text, embedding real[])
RETURNS @extschema@.semquery
AS 'MODULE_PATHNAME', 'semtok_neighbors_name'
LANGUAGE C STABLE STRICT PARALLEL SAFE COST 1000
SUPPORT @extschema@.semtok_embedding_support;
COMMENT ON FUNCTION semtok.neighbors(text, real[]) IS
'query by example with the active version of the named tokenizer';

CREATE FUNCTION semtok.next_codes(
	items regclass, prefix @extschema@.semid, OUT code int, OUT items bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'semtok_next_codes'
LANGUAGE C STABLE PARALLEL RESTRICTED ROWS 256;
COMMENT ON FUNCTION semtok.next_codes(regclass, @extschema@.semid) IS
'codes that may follow a prefix (null: the first codes) and the index entries below each';

CREATE FUNCTION semtok.next_codes_set(
	items @extschema@.semset, prefix @extschema@.semid, OUT code int, OUT items bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'semtok_next_codes_set'
LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 256;
COMMENT ON FUNCTION semtok.next_codes_set(@extschema@.semset, @extschema@.semid) IS
'codes that may follow a prefix (null: the first codes) and the ids of the set below each';

CREATE FUNCTION semtok.explain(
	sid @extschema@.semid, query @extschema@.semquery, within @extschema@.semset DEFAULT NULL,
	OUT level int, OUT code int, OUT logprob float8, OUT rank int, OUT siblings int)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'semtok_explain'
LANGUAGE C IMMUTABLE PARALLEL SAFE ROWS 3;
COMMENT ON FUNCTION semtok.explain(@extschema@.semid, @extschema@.semquery, @extschema@.semset) IS
'why an id got its score: log-probability of each code and its rank among the codes it competes with';

CREATE FUNCTION semtok.evaluate_ranking(
	query text, cutoffs int[] DEFAULT '{1,5,10}', sample int DEFAULT NULL,
	seed bigint DEFAULT 42, groups text DEFAULT NULL,
	OUT group_name text, OUT metric text, OUT cutoff int, OUT value float8,
	OUT low float8, OUT high float8, OUT queries bigint)
RETURNS SETOF record
AS 'MODULE_PATHNAME', 'semtok_evaluate_ranking'
LANGUAGE C VOLATILE PARALLEL UNSAFE COST 10000 ROWS 20;
COMMENT ON FUNCTION semtok.evaluate_ranking(text, int[], int, bigint, text) IS
'recall, NDCG, MRR and coverage of a query''s ranked lists (columns: relevant items, ranked items), with 95 % bootstrap intervals, over all and by group of items';
