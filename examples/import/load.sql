-- Shared by the other scripts here: what they read (temporary table import_id: item, codes) becomes a
-- column of a table, with a registered tokenizer and an index. Runs within their transaction, so that
-- a bad file loads nothing. id=… adds ids of a tokenizer that is there, instead of a new version.
\if :{?table}
\else
\set table items
\endif
\if :{?key}
\else
\set key item_id
\endif
\if :{?column}
\else
\set column sid
\endif
\if :{?sizes}
\else
\set sizes ''
\endif
\if :{?id}
\else
\set id NULL
\endif
SELECT coalesce(nullif(:'sizes', ''), (SELECT sizes::text FROM semtok.tokenizers WHERE id = :id), '') AS sizes \gset

-- What every format must hold: each item once, codes that are codes, the same number of them; more than
-- there are sizes where a level was appended to tell items apart.
SELECT set_config('import.sizes', :'sizes', true) AS sizes_given \gset
DO $$
DECLARE
	bad record;
	sizes int[] := nullif(current_setting('import.sizes'), '')::int[];
	levels int;
BEGIN
	IF NOT EXISTS (SELECT FROM import_id) THEN
		RAISE EXCEPTION 'there are no ids in the input';
	END IF;
	SELECT item, array_agg(n ORDER BY n) AS places INTO bad
		FROM import_id GROUP BY item HAVING count(*) > 1 ORDER BY min(n) LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'item "%" is there % times, in entries %', bad.item, cardinality(bad.places),
			array_to_string(bad.places[:3], ', ');
	END IF;
	SELECT item, code INTO bad FROM import_id, unnest(codes) AS code
		WHERE code IS NULL OR code !~ '^[0-9]{1,5}$' OR code::int > 65535 ORDER BY n LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'item "%": expected a code from 0 to 65535, not "%"', bad.item, bad.code;
	END IF;
	SELECT coalesce(cardinality(sizes), cardinality(codes)) INTO levels FROM import_id ORDER BY n LIMIT 1;
	IF levels NOT BETWEEN 1 AND 32 THEN
		RAISE EXCEPTION 'expected 1 to 32 codes an item, not %', levels;
	END IF;
	SELECT item, cardinality(codes) AS got INTO bad FROM import_id
		WHERE cardinality(codes) NOT BETWEEN levels AND CASE WHEN sizes IS NULL THEN levels ELSE 32 END
		ORDER BY n LIMIT 1;
	IF FOUND AND sizes IS NULL THEN
		RAISE EXCEPTION 'item "%": expected % codes as the first item has, not %', bad.item, levels, bad.got
			USING HINT = 'Where some items have a level more, to tell them apart, give the sizes of the others: -v sizes=''{256,256,…}''.';
	ELSIF FOUND THEN
		RAISE EXCEPTION 'item "%": expected at least % codes, one for each of the sizes, and at most 32, not %',
			bad.item, levels, bad.got;
	END IF;
	SELECT item, code, level INTO bad FROM import_id, unnest(codes) WITH ORDINALITY AS c (code, level)
		WHERE code::int >= sizes[level] ORDER BY n LIMIT 1;
	IF FOUND THEN
		RAISE EXCEPTION 'item "%": expected a code below %, not %, at level %', bad.item,
			sizes[bad.level], bad.code, bad.level - 1;
	END IF;
END $$;

-- Without sizes=… the largest code of each level tells.
SELECT CASE WHEN :'sizes' <> '' THEN :'sizes' ELSE (
		SELECT array_agg(size ORDER BY level) FROM (
			SELECT level, max(code::int) + 1 AS size
			FROM import_id, unnest(codes) WITH ORDINALITY AS c (code, level) GROUP BY level) AS s)::text
	END AS sizes,
	to_regclass(:'table') IS NULL AS new_table,
	CASE WHEN bool_and(item ~ '^[0-9]{1,18}$') THEN 'bigint' ELSE 'text' END AS key_type,
	count(*) AS items FROM import_id \gset
SELECT semtok.register_tokenizer(:'tokenizer', :'sizes'::int[], :id) AS id \gset

\if :new_table
CREATE TABLE :table (:"key" :key_type PRIMARY KEY, :"column" semid);
INSERT INTO :table (:"key", :"column")
	SELECT CAST(item AS :key_type), semid(codes::int[], :id) FROM import_id ORDER BY n;
\else
ALTER TABLE :table ADD COLUMN IF NOT EXISTS :"column" semid;
CREATE TEMP TABLE import_missing ON COMMIT DROP AS
	SELECT item FROM import_id
	WHERE NOT EXISTS (SELECT FROM :table AS t WHERE t.:"key"::text = item) ORDER BY n;
DO $$
DECLARE missing text; n bigint;
BEGIN
	SELECT min(item), count(*) INTO missing, n FROM import_missing;
	IF n > 0 THEN
		RAISE EXCEPTION '% items have no row in the table, such as "%"', n, missing;
	END IF;
END $$;
UPDATE :table AS t SET :"column" = semid(codes::int[], :id) FROM import_id WHERE t.:"key"::text = item;
\endif

SELECT NOT EXISTS (
		SELECT FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid JOIN pg_am ON pg_am.oid = relam
		JOIN pg_attribute ON attrelid = indrelid AND attnum = indkey[0]
		WHERE indrelid = :'table'::regclass AND amname = 'semtrie' AND attname = :'column') AS new_index \gset
\if :new_index
CREATE INDEX ON :table USING semtrie (:"column");
\endif
ANALYZE :table;

SELECT count(*) AS ids, coalesce(sum(n) FILTER (WHERE n > 1), 0) AS shared, max(n) AS largest
	FROM (SELECT count(*) AS n FROM import_id GROUP BY codes) AS s \gset
SELECT count(*) AS without FROM :table WHERE :"column" IS NULL \gset
COMMIT;
\echo :items items, :ids ids of tokenizer :id (:tokenizer, sizes :sizes)
\echo :shared items share an id with others, at most :largest the same; :without rows have none
