-- A Hugging Face vocabulary extended by item tokens, as RecTokens lays it out: after `orig` tokens of text
-- come those of level 0, level 1, …, K a level, then <|item_start|> and <|item_end|>. What its tests of
-- the tokenizer say, said of the token's numbers (offsets) and of their text. test/README.md lists them.
CREATE TABLE v_shape AS SELECT 100 AS orig, 3 AS levels, 4 AS k;
CREATE TABLE v_items (id int PRIMARY KEY, sid semid);
INSERT INTO v_items SELECT i, semid(array[i % 4, i / 4 % 4, i * 7 % 4], 1) FROM generate_series(0, 15) i WHERE i <> 5;
CREATE INDEX v_items_sid ON v_items USING semtrie (sid);
CREATE VIEW v_vocabulary AS
SELECT orig, array(SELECT orig + l * k FROM generate_series(0, levels - 1) l) AS offsets,
       orig + levels * k AS item_start, orig + levels * k + 1 AS item_end, orig + levels * k + 2 AS vocab FROM v_shape;
-- The numbers of a row's bits.
CREATE FUNCTION v_tokens(mask varbit) RETURNS int[] LANGUAGE sql IMMUTABLE AS
	'SELECT array(SELECT i FROM generate_series(0, length(mask) - 1) i WHERE get_bit(mask, i) = 1)';

-- vocabulary: vocab_size, token_ids level-major, item_start and item_end behind them
SELECT * FROM v_vocabulary;
-- each item token has one number, and each number of the middle part one token
SELECT count(*) AS tokens, count(DISTINCT offsets[l + 1] + c) AS numbers, min(offsets[l + 1] + c) = orig AS first, max(offsets[l + 1] + c) = item_start - 1 AS last
  FROM v_vocabulary, generate_series(0, 2) l, generate_series(0, 3) c GROUP BY orig, item_start;
-- the mask of a prefix allows tokens of its own level only, and the end only behind an item
SELECT p.prefix, v_tokens(m.mask) AS tokens, v_tokens(m.mask) <@ array(SELECT t FROM generate_series(offsets[p.level + 1], offsets[p.level + 1] + 3) t) AS of_its_level, get_bit(m.mask, item_end) AS may_end
  FROM v_vocabulary, LATERAL unnest('{NULL,"[1]","[1,1]","[1,2]","[1,0,3]"}'::semid[], '{0,1,2,2,3}'::int[],
       semtok.mask('v_items', '{NULL,"[1]","[1,1]","[1,2]","[1,0,3]"}', vocab, offsets, item_end, 1)) WITH ORDINALITY m(prefix, level, mask, n), LATERAL (SELECT m.prefix, m.level) p ORDER BY n;
-- text tokens and <|item_start|> are never allowed inside an item
SELECT bool_or(t < orig OR t = item_start) AS text_inside
  FROM v_vocabulary, unnest(semtok.mask('v_items', array(SELECT NULL::semid UNION ALL SELECT DISTINCT semid_prefix(sid, l) FROM v_items, generate_series(1, 3) l), vocab, offsets, item_end, 1)) m, unnest(v_tokens(m)) t;
-- from the numbers back to ids: round trip of all items, generated token by token
WITH RECURSIVE walk(prefix, numbers) AS (
	SELECT NULL::semid, '{}'::int[]
	UNION ALL
	SELECT coalesce(w.prefix || (t - offsets[cardinality(numbers) + 1]), semid(array[t - offsets[1]], 1)), numbers || t
	  FROM walk w, v_vocabulary, LATERAL unnest(semtok.mask('v_items', array[w.prefix], vocab, offsets, NULL, 1)) m, unnest(v_tokens(m)) t
	 WHERE cardinality(numbers) < 3)
SELECT count(*), bool_and(prefix IN (SELECT sid FROM v_items)) AS all_exist, count(DISTINCT numbers) AS sequences
  FROM walk WHERE cardinality(numbers) = 3;
SELECT count(*) FROM (SELECT DISTINCT sid FROM v_items) s;
-- the file of a trie has the same numbers
SELECT semset_from_npz(semset_to_npz(semset_agg(sid), vocab, 1, 'rectokens', offsets), 1, offsets) = semset_agg(sid) AS same
  FROM v_items, v_vocabulary GROUP BY vocab, offsets;

-- the tokens' text: token_strings, encode and decode, round trips
SELECT semid_tokens(sid) FROM v_items WHERE id IN (0, 6) ORDER BY id;
SELECT bool_and(semid_from_tokens(semid_tokens(sid), 1) = sid) AS round_trip, count(DISTINCT semid_tokens(sid)) = count(DISTINCT sid) AS distinct_texts FROM v_items;
SELECT semid_from_tokens('<item_L0_C1> <item_L1_C2>', 1) AS of_two_levels, semid_from_tokens('<item_L0_C65535>') AS highest_code;
-- encode_sequence: the start token between text and item alone, the end token after each item; what is
-- generated so is cut at the end tokens. text_then_item, item_then_item, item_first, item_then_text
SELECT name, array(SELECT semid_from_tokens(m[1], 1) FROM regexp_matches(sequence, '((?:<item_L\d+_C\d+>)+)<\|item_end\|>', 'g') m) AS items,
       regexp_replace(sequence, '(<\|item_start\|>)?(<item_L\d+_C\d+>)+<\|item_end\|>', '', 'g') AS text
  FROM (VALUES ('text_then_item', 'buy <|item_start|><item_L0_C1><item_L1_C0><item_L2_C3><|item_end|>'),
	('item_then_item', 'buy <|item_start|><item_L0_C1><item_L1_C0><item_L2_C3><|item_end|><item_L0_C2><item_L1_C0><item_L2_C2><|item_end|>'),
	('item_first', '<item_L0_C1><item_L1_C0><item_L2_C3><|item_end|> is good'),
	('item_then_text', 'buy <|item_start|><item_L0_C1><item_L1_C0><item_L2_C3><|item_end|>or not'), ('text_only', 'nothing')) v(name, sequence);
-- what is no item's text is an error, not an id
SELECT semid_from_tokens('<item_L0_C1><item_L2_C0>');
SELECT semid_from_tokens('<|item_start|><item_L0_C1>');
SELECT semid_from_tokens('text');

DROP VIEW v_vocabulary;
DROP FUNCTION v_tokens;
DROP TABLE v_items, v_shape;
