-- Leave semtok and keep the data: every semid column of the database becomes int[], with the id of
-- the tokenizer in a column beside it; semset, semquery and codebook columns become text; and the
-- tokenizers stay as plain tables in schema semtok_export.
--
--   psql -X -f examples/export_int.sql
--   psql -X -c 'DROP EXTENSION semtok'
--
-- One transaction, which rewrites each table twice under an exclusive lock. Indexes, checks,
-- triggers and defaults that need semtok go. What it cannot change by itself it stops at, and nothing is changed:
-- views of such columns, partition keys, arrays of ids, domains.
\set ON_ERROR_STOP on
BEGIN;
SELECT format('SET LOCAL search_path = %I, pg_catalog', nspname)
FROM pg_extension JOIN pg_namespace AS n ON n.oid = extnamespace WHERE extname = 'semtok' \gexec

CREATE SCHEMA semtok_export;
CREATE TABLE semtok_export.tokenizer AS SELECT * FROM semtok.tokenizers;
CREATE TABLE semtok_export.training_log AS SELECT * FROM semtok.training_log;
CREATE TABLE semtok_export.codeword AS
	SELECT t.id AS tokenizer, e.level, e.code, e.vector
	FROM semtok.tokenizer AS t, codebook_entries(t.codebook) AS e;

-- Columns that are not inherited from a parent, which takes its children along.
CREATE TEMP TABLE leaving ON COMMIT DROP AS
	SELECT attrelid AS relation, attnum, attname::text AS name, attgenerated <> '' AS generated,
		atttypid = 'semid'::regtype AS id
	FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = attrelid
	WHERE atttypid IN ('semid'::regtype, 'semset'::regtype, 'semquery'::regtype, 'codebook'::regtype)
	AND relkind IN ('r', 'p') AND attinhcount = 0 AND NOT attisdropped
	AND relnamespace NOT IN ('semtok'::regnamespace, 'semtok_export'::regnamespace);

-- What needs an operator, a function or an operator class of semtok, or a column that changes
SELECT format('DROP INDEX %s', i.indexrelid::regclass)
FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
WHERE NOT relispartition AND NOT indisprimary AND EXISTS (
	SELECT FROM pg_opclass AS o JOIN pg_depend AS d ON d.objid = o.oid
	WHERE o.oid = ANY (i.indclass) AND d.classid = 'pg_opclass'::regclass AND d.deptype = 'e'
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'semtok')) \gexec
SELECT format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass)
FROM pg_trigger WHERE tgparentid = 0
AND tgfoid IN (SELECT oid FROM pg_proc WHERE pronamespace = 'semtok'::regnamespace) \gexec
SELECT DISTINCT format('ALTER TABLE %s DROP CONSTRAINT %I', conrelid::regclass, conname)
FROM pg_constraint AS k JOIN leaving ON relation = conrelid AND attnum = ANY (conkey)
WHERE contype = 'c' \gexec
SELECT format('ALTER TABLE %s ALTER %I DROP %s', relation::regclass, name,
	CASE WHEN generated THEN 'EXPRESSION' ELSE 'DEFAULT' END) FROM leaving \gexec

-- A generated column that stops being one keeps what it holds.
SELECT format('ALTER TABLE %s ADD %I int GENERATED ALWAYS AS (semid_tokenizer(%I)) STORED',
	relation::regclass, name || '_tokenizer', name) FROM leaving WHERE id \gexec
SELECT format('ALTER TABLE %s ALTER %I DROP EXPRESSION', relation::regclass, name || '_tokenizer')
FROM leaving WHERE id \gexec
SELECT format('ALTER TABLE %s ALTER %I TYPE %s USING %2$I::%3$s', relation::regclass, name,
	CASE WHEN id THEN 'int[]' ELSE 'text' END) FROM leaving \gexec
COMMIT;
