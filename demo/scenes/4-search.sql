\echo » Generative search: naive Bayes turns the words of a question into a probability for every code of every level, and the index finds the items whose codes are the most probable together.
:show
CREATE TABLE code AS          -- the codes of an item
SELECT item_id, level, code
FROM items, unnest(semid_codes(sid)) WITH ORDINALITY AS c(code, level) WHERE level <= :levels;

CREATE TABLE class AS         -- how many items have a code
SELECT level, code, count(item_id) AS items
FROM generate_series(1, :levels) AS level CROSS JOIN generate_series(0, :codes - 1) AS code
     LEFT JOIN code AS c USING (level, code)
GROUP BY level, code;

CREATE TABLE word_of_class AS -- and how many of them a word
SELECT level, code, word, count(*) AS items
FROM code JOIN words USING (item_id) GROUP BY level, code, word;
:hide
CREATE INDEX ON word_of_class (word);
ANALYZE code, class, word_of_class;
:show
CREATE FUNCTION in_words(question text) RETURNS semquery LANGUAGE sql STABLE AS $$
    WITH asked AS (
        SELECT DISTINCT word FROM regexp_split_to_table(lower(question), '[^[:alnum:]]+') AS word
        WHERE word IN (SELECT word FROM words)
    ), logits AS (            -- ln P(code) + sum of ln P(word | code), smoothed
        SELECT level, array_agg(x ORDER BY code) AS row
        FROM (SELECT level, code, (ln(c.items + 0.1)
                     + sum(ln((coalesce(w.items, 0) + 0.02) / (c.items + 0.1))))::real AS x
              FROM class AS c CROSS JOIN asked
                   LEFT JOIN word_of_class AS w USING (level, code, word)
              GROUP BY level, code, c.items) AS score
        GROUP BY level
    )
    SELECT semtok.logits(array_agg(row ORDER BY level)) FROM logits
$$;

CREATE TABLE question AS SELECT in_words(:'question') AS q;

SELECT left(title, 50) AS title, left(description, 42) AS description FROM items
ORDER BY sid <~> (SELECT q FROM question) LIMIT 10;

EXPLAIN (COSTS OFF)
SELECT title FROM items ORDER BY sid <~> (SELECT q FROM question) LIMIT 10;
:hide

\echo » Why the first of them? The rank of its codes among all codes of their level:
:show
SELECT e.* FROM question,
    (SELECT sid FROM items ORDER BY sid <~> (SELECT q FROM question) LIMIT 1) AS first,
    semtok.explain(first.sid, q) AS e;
:hide
SELECT 'true' AS allowed, format('SELECT in_words(%L)', :'question') AS asking \gset
