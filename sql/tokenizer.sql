-- The catalog of tokenizers. Nobody writes it directly: the verbs do, as the table's owner.

-- An id is semtok.tokenizer_id_base plus a number of the sequence: src/tokenizer/ids.c.
CREATE SEQUENCE semtok.tokenizer_id_seq AS int MAXVALUE 1000000;
COMMENT ON SEQUENCE semtok.tokenizer_id_seq IS
	'ids of tokenizers, less semtok.tokenizer_id_base; an id is never given twice';

-- src/tokenizer/catalog.c reads columns by number: add new ones at the end.
CREATE TABLE semtok.tokenizer (
	id int NOT NULL CONSTRAINT tokenizer_pkey PRIMARY KEY CHECK (id > 0),
	name text COLLATE "C" NOT NULL
		CHECK (pg_catalog.octet_length(name) BETWEEN 1 AND 63),
	version int NOT NULL CHECK (version > 0),
	method text NOT NULL,
	metric text,
	dim int,
	sizes int[] NOT NULL,
	active boolean NOT NULL,
	owner name NOT NULL,
	created_at timestamptz NOT NULL DEFAULT pg_catalog.now(),
	trained_rows bigint,
	options jsonb NOT NULL,
	hash bytea CHECK (pg_catalog.octet_length(hash) = 32),
	counts float8[],
	codebook @extschema@.codebook,
	owner_id oid,
	owner_cluster bigint,
	state bytea,
	CONSTRAINT tokenizer_name_version_key UNIQUE (name, version),
	CONSTRAINT tokenizer_codebook_check CHECK (CASE WHEN codebook IS NULL
		THEN method = 'registered' AND metric IS NULL AND dim IS NULL AND hash IS NULL
			AND counts IS NULL AND trained_rows IS NULL AND state IS NULL
		ELSE method <> 'registered' AND metric IS NOT NULL AND dim IS NOT NULL
			AND hash IS NOT NULL END)
);
-- Codewords do not compress.
ALTER TABLE semtok.tokenizer ALTER COLUMN codebook SET STORAGE EXTERNAL;
ALTER TABLE semtok.tokenizer ALTER COLUMN counts SET STORAGE EXTERNAL;
ALTER TABLE semtok.tokenizer ALTER COLUMN state SET STORAGE EXTERNAL;
CREATE UNIQUE INDEX tokenizer_active_key ON semtok.tokenizer (name) WHERE active;

COMMENT ON TABLE semtok.tokenizer IS
	'every version of every tokenizer; a version never changes, except for active and its owner';
COMMENT ON COLUMN semtok.tokenizer.id IS 'what the semantic IDs it makes carry';
COMMENT ON COLUMN semtok.tokenizer.version IS 'counts from 1 within a name';
COMMENT ON COLUMN semtok.tokenizer.method IS
	'how it was made: a method of training, imported, or registered, which is without a codebook';
COMMENT ON COLUMN semtok.tokenizer.metric IS 'of its codebook; null without one';
COMMENT ON COLUMN semtok.tokenizer.dim IS 'dimensions of its embeddings; null without a codebook';
COMMENT ON COLUMN semtok.tokenizer.sizes IS 'codes per level';
COMMENT ON COLUMN semtok.tokenizer.active IS
	'the version that the name alone means; one per name';
COMMENT ON COLUMN semtok.tokenizer.owner IS
	'role that may train, activate and drop; by name, so that a dump restores anywhere';
COMMENT ON COLUMN semtok.tokenizer.owner_id IS
	'the role''s OID, which counts in the cluster that wrote it: a role may be renamed, and its name given to another';
COMMENT ON COLUMN semtok.tokenizer.owner_cluster IS
	'system identifier of that cluster; elsewhere, and where it is null, the name counts';
COMMENT ON COLUMN semtok.tokenizer.trained_rows IS
	'rows it was trained on, after sampling, those of the versions that it continues included; null where they are not known';
COMMENT ON COLUMN semtok.tokenizer.options IS
	'how it was trained; beam is the width that it is encoded with unless a call says otherwise';
COMMENT ON COLUMN semtok.tokenizer.hash IS
	'SHA-256 of the codebook, the key of caches; null without one';
COMMENT ON COLUMN semtok.tokenizer.codebook IS 'its codewords; null in a registered tokenizer';
COMMENT ON COLUMN semtok.tokenizer.counts IS
	'rows behind each codeword, level by level, for partial_fit; null where they are not known';
COMMENT ON COLUMN semtok.tokenizer.state IS
	'all that its training was at its end, the optimizer''s part included, for partial_fit; null where codewords and counts are all';

CREATE TABLE semtok.training_log (
	tokenizer int NOT NULL,
	step int NOT NULL,
	level int,
	epoch int,
	metric text NOT NULL,
	value float8 NOT NULL,
	at timestamptz NOT NULL
);
CREATE INDEX training_log_tokenizer_idx ON semtok.training_log (tokenizer, step);
-- Without it no tokenizer could be dropped where all tables are published.
ALTER TABLE semtok.training_log REPLICA IDENTITY FULL;
COMMENT ON TABLE semtok.training_log IS
	'what every training measured: per level and epoch, then of the finished tokenizer';
COMMENT ON COLUMN semtok.training_log.tokenizer IS 'its id; without a foreign key, so that tables restore in any order';
COMMENT ON COLUMN semtok.training_log.step IS 'counts epochs over all levels, and rounds of refinement, from 1';
COMMENT ON COLUMN semtok.training_log.level IS 'from 0; null for a metric of whole ids';
COMMENT ON COLUMN semtok.training_log.epoch IS
	'from 1, rounds of refinement from 0; null for the finished tokenizer';
COMMENT ON COLUMN semtok.training_log.metric IS
	'what was measured on the rows trained on; with eval_ before it, on rows held out';

REVOKE ALL ON semtok.tokenizer, semtok.training_log FROM PUBLIC;
REVOKE ALL ON SEQUENCE semtok.tokenizer_id_seq FROM PUBLIC;
GRANT SELECT ON semtok.tokenizer, semtok.training_log TO PUBLIC;
-- pg_dump reads the sequence with the rights of who runs it.
GRANT SELECT ON SEQUENCE semtok.tokenizer_id_seq TO PUBLIC;
SELECT pg_catalog.pg_extension_config_dump('semtok.tokenizer_id_seq', '');
SELECT pg_catalog.pg_extension_config_dump('semtok.tokenizer', '');
SELECT pg_catalog.pg_extension_config_dump('semtok.training_log', '');

CREATE VIEW semtok.tokenizers AS
	SELECT t.id, t.name, t.version, t.active, t.method, t.metric, t.dim, t.sizes, t.trained_rows,
		t.options, pg_catalog.encode(t.hash, 'hex') AS hash,
		coalesce(r.rolname, t.owner) AS owner, t.created_at
	FROM semtok.tokenizer AS t LEFT JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) t.owner_id
		AND t.owner_cluster OPERATOR(pg_catalog.=)
			(SELECT system_identifier FROM pg_catalog.pg_control_system());
COMMENT ON VIEW semtok.tokenizers IS 'the tokenizers, without their codebooks';
GRANT SELECT ON semtok.tokenizers TO PUBLIC;

-- Training and life cycle

CREATE FUNCTION semtok.train(name text, source text, method text DEFAULT 'rqkmeans',
	levels int DEFAULT 3, codes int DEFAULT 256, metric text DEFAULT 'l2', epochs int DEFAULT 25,
	batch_size int DEFAULT NULL, init text DEFAULT 'kmeans||', seed bigint DEFAULT 42,
	sample bigint DEFAULT NULL, device text DEFAULT NULL, options jsonb DEFAULT NULL) RETURNS int
	AS 'MODULE_PATHNAME', 'semtok_train' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION semtok.train(text, text, text, int, int, text, int, int, text, bigint, bigint,
	text, jsonb) IS
	'train the next version of a tokenizer on a query''s embeddings; the first becomes active';

CREATE FUNCTION semtok.train(name text, source text, codes int[], method text DEFAULT 'rqkmeans',
	levels int DEFAULT NULL, metric text DEFAULT 'l2', epochs int DEFAULT 25,
	batch_size int DEFAULT NULL, init text DEFAULT 'kmeans||', seed bigint DEFAULT 42,
	sample bigint DEFAULT NULL, device text DEFAULT NULL, options jsonb DEFAULT NULL) RETURNS int
	AS 'MODULE_PATHNAME', 'semtok_train_sizes' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION semtok.train(text, text, int[], text, int, text, int, int, text, bigint,
	bigint, text, jsonb) IS
	'train the next version of a tokenizer whose levels differ in size';

CREATE FUNCTION semtok.partial_fit(name text, source text, epochs int DEFAULT 1,
	batch_size int DEFAULT 1024, seed bigint DEFAULT 42, sample bigint DEFAULT NULL,
	device text DEFAULT NULL, options jsonb DEFAULT NULL) RETURNS int
	AS 'MODULE_PATHNAME', 'semtok_partial_fit' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION semtok.partial_fit(text, text, int, int, bigint, bigint, text, jsonb) IS
	'continue the active version of a tokenizer on a query''s embeddings; makes a new version';

CREATE FUNCTION semtok.activate(name text, version int) RETURNS void
	AS 'MODULE_PATHNAME', 'semtok_activate' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION semtok.activate(text, int) IS 'make a version the one that the name means';

CREATE FUNCTION semtok.set_owner(name text, owner name) RETURNS void
	AS 'MODULE_PATHNAME', 'semtok_set_owner' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION semtok.set_owner(text, name) IS 'give all versions of a tokenizer to another role';

CREATE FUNCTION semtok.drop_tokenizer(name text, version int DEFAULT NULL) RETURNS void
	AS 'MODULE_PATHNAME', 'semtok_drop_tokenizer' LANGUAGE C VOLATILE PARALLEL UNSAFE;
COMMENT ON FUNCTION semtok.drop_tokenizer(text, int) IS
	'drop a version of a tokenizer, or all; refused while a semid column holds ids that it made';

-- Encoding and decoding

CREATE FUNCTION semtok.encode(codebook @extschema@.codebook, embedding real[],
	beam int DEFAULT NULL) RETURNS @extschema@.semid
	AS 'MODULE_PATHNAME', 'semtok_encode_codebook' LANGUAGE C IMMUTABLE PARALLEL SAFE COST 1000
	SUPPORT @extschema@.semtok_embedding_support;
COMMENT ON FUNCTION semtok.encode(@extschema@.codebook, real[], int) IS
	'semantic ID of an embedding, naming no tokenizer; beam > 1 searches wider, null is 1';

CREATE FUNCTION semtok.encode(tokenizer int, embedding real[], beam int DEFAULT NULL)
	RETURNS @extschema@.semid
	AS 'MODULE_PATHNAME', 'semtok_encode_id' LANGUAGE C STABLE PARALLEL SAFE COST 1000
	SUPPORT @extschema@.semtok_embedding_support;
COMMENT ON FUNCTION semtok.encode(int, real[], int) IS
	'semantic ID of an embedding by the tokenizer with this id; beam null is the tokenizer''s own';

CREATE FUNCTION semtok.encode(name text, embedding real[], beam int DEFAULT NULL)
	RETURNS @extschema@.semid
	AS 'MODULE_PATHNAME', 'semtok_encode_name' LANGUAGE C STABLE PARALLEL SAFE COST 1000
	SUPPORT @extschema@.semtok_embedding_support;
COMMENT ON FUNCTION semtok.encode(text, real[], int) IS
	'semantic ID of an embedding by the active version of a tokenizer; beam null is the tokenizer''s own';

CREATE FUNCTION semtok.encode_batch(tokenizer int, source text, beam int DEFAULT NULL)
	RETURNS TABLE (number bigint, key text, sid @extschema@.semid)
	AS 'MODULE_PATHNAME', 'semtok_encode_batch_id' LANGUAGE C VOLATILE PARALLEL UNSAFE
	COST 10000 ROWS 1000;
COMMENT ON FUNCTION semtok.encode_batch(int, text, int) IS
	'semantic IDs of a query''s embeddings by the tokenizer with this id, encoded together; of two columns the first is a key';

CREATE FUNCTION semtok.encode_batch(name text, source text, beam int DEFAULT NULL)
	RETURNS TABLE (number bigint, key text, sid @extschema@.semid)
	AS 'MODULE_PATHNAME', 'semtok_encode_batch_name' LANGUAGE C VOLATILE PARALLEL UNSAFE
	COST 10000 ROWS 1000;
COMMENT ON FUNCTION semtok.encode_batch(text, text, int) IS
	'semantic IDs of a query''s embeddings by the active version of a tokenizer, encoded together; of two columns the first is a key';

CREATE FUNCTION semtok.decode(codebook @extschema@.codebook, sid @extschema@.semid) RETURNS real[]
	AS 'MODULE_PATHNAME', 'semtok_decode_codebook' LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION semtok.decode(@extschema@.codebook, @extschema@.semid) IS
	'embedding that a semantic ID stands for';

CREATE FUNCTION semtok.decode(tokenizer int, sid @extschema@.semid) RETURNS real[]
	AS 'MODULE_PATHNAME', 'semtok_decode_id' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION semtok.decode(int, @extschema@.semid) IS
	'embedding that a semantic ID stands for, by the tokenizer with this id';

CREATE FUNCTION semtok.decode(name text, sid @extschema@.semid) RETURNS real[]
	AS 'MODULE_PATHNAME', 'semtok_decode_name' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION semtok.decode(text, @extschema@.semid) IS
	'embedding that a semantic ID stands for, by the active version of a tokenizer';

CREATE FUNCTION semtok.decode(sid @extschema@.semid) RETURNS real[]
	AS 'MODULE_PATHNAME', 'semtok_decode_semid' LANGUAGE C STABLE STRICT PARALLEL SAFE COST 10;
COMMENT ON FUNCTION semtok.decode(@extschema@.semid) IS
	'embedding that a semantic ID stands for, by the tokenizer it names';

CREATE PROCEDURE semtok.tokenize(relation regclass, embedding name, into_column name,
	tokenizer text, version int DEFAULT NULL, batch_size int DEFAULT 10000,
	collisions text DEFAULT 'keep', where_clause text DEFAULT NULL)
	AS 'MODULE_PATHNAME', 'semtok_tokenize' LANGUAGE C;
COMMENT ON PROCEDURE semtok.tokenize(regclass, name, name, text, int, int, text, text) IS
	'give rows the ids of a tokenizer, with a commit after every batch; can be stopped and resumed';

-- Quality

CREATE TYPE semtok.evaluation AS (
	level int,
	rows bigint,
	mse float8,
	relative_error float8,
	codes int,
	used bigint,
	dead_codes int,
	usage float8,
	entropy float8,
	perplexity float8,
	gini float8,
	unique_fraction float8,
	collision_rate float8,
	largest_collision bigint
);
COMMENT ON TYPE semtok.evaluation IS
	'what a tokenizer makes of rows: of whole ids where level is null (used: distinct ids), else of the ids cut after that level (errors) and of that level''s codes; entropy in nats';

CREATE FUNCTION semtok.evaluate(tokenizer int, source text) RETURNS SETOF semtok.evaluation
	AS 'MODULE_PATHNAME', 'semtok_evaluate_id' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	COST 10000 ROWS 4;
COMMENT ON FUNCTION semtok.evaluate(int, text) IS
	'measure the tokenizer with this id on a query''s embeddings, as a whole and level by level';

CREATE FUNCTION semtok.evaluate(name text, source text) RETURNS SETOF semtok.evaluation
	AS 'MODULE_PATHNAME', 'semtok_evaluate_name' LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE
	COST 10000 ROWS 4;
COMMENT ON FUNCTION semtok.evaluate(text, text) IS
	'measure the active version of a tokenizer on a query''s embeddings, as a whole and level by level';

CREATE FUNCTION semtok.collisions(relation regclass, column_name name)
	RETURNS TABLE (sid @extschema@.semid, items bigint)
	AS 'MODULE_PATHNAME', 'semtok_collisions' LANGUAGE C STABLE STRICT PARALLEL UNSAFE
	COST 10000 ROWS 100;
COMMENT ON FUNCTION semtok.collisions(regclass, name) IS
	'semantic IDs that several rows share, the most shared first';
