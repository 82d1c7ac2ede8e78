-- What the extension promises the planner and the administrator about its functions.
\pset format unaligned
CREATE VIEW p_functions AS
SELECT p.*, p.oid::regprocedure::text AS signature
  FROM pg_proc p JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
  JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
 WHERE e.extname = 'semtok';

-- LEAKPROOF: semid's comparisons, hashes and ^@, nothing else
SELECT signature FROM p_functions WHERE proleakproof ORDER BY signature COLLATE "C";
-- what reads tables
SELECT signature FROM p_functions WHERE provolatile = 's' ORDER BY signature COLLATE "C";
-- what writes them, or draws at random
SELECT signature FROM p_functions WHERE provolatile = 'v' ORDER BY signature COLLATE "C";
-- not safe in a parallel worker
SELECT signature, proparallel FROM p_functions WHERE proparallel <> 's' ORDER BY signature COLLATE "C";
-- operators are immutable, strict and parallel safe: they may be shipped to other nodes
SELECT o.oid::regoperator
  FROM pg_operator o JOIN p_functions p ON p.oid = o.oprcode
 WHERE p.provolatile <> 'i' OR p.proparallel <> 's' OR NOT p.proisstrict;
-- verbs run with the caller's rights and search_path
SELECT signature FROM p_functions WHERE prosecdef OR proconfig IS NOT NULL;
-- arguments of verbs have names, none of them reserved
SELECT p.signature, k.word FROM p_functions p, unnest(p.proargnames) n(name), pg_get_keywords() k
 WHERE k.word = n.name AND k.catcode = 'R';
SELECT signature FROM p_functions
 WHERE pronamespace = 'semtok'::regnamespace AND pronargs > 0 AND (proargnames IS NULL OR '' = ANY (proargnames))
 ORDER BY 1;
-- nothing lies outside the two schemas
SELECT signature FROM p_functions WHERE pronamespace NOT IN ('public'::regnamespace, 'semtok'::regnamespace);
-- what makes a query or an id is dear: the planner works it out after a LIMIT, not before
SELECT p.signature FROM p_functions p JOIN pg_proc f USING (oid)
 WHERE f.proname IN ('neighbors', 'logits', 'encode', 'encode_batch', 'encode_trace', 'encode_candidates') AND f.procost < 1000;
-- operators of the same names, on untyped literals, still mean what they mean without the extension
SELECT 'text' || 1 AS int, 'text' || 1::bigint AS bigint, 'text' || 1::smallint AS smallint, 1 || 'text' AS left,
       pg_typeof('[1]' || 1), '{1}' || 2 AS array, '{1}' || array[2] AS arrays, 'text' ^@ 'te' AS starts,
       '{1}' <@ array[1] AS contained, 'a' = 'a' AS equal, 'a' < 'b' AS less, '[1]' || '[2]' AS untyped;
SELECT 5 | '3' AS or, '6' & 3 AS and, 5 - '3' AS minus, '{"a": 1, "b": 2}'::jsonb - 'a' AS key, '2020-01-03'::date - '2020-01-01' AS days,
       B'110' | '011' AS bits, '[1]'::semid <@ ('{[1]}'::semset - '{[2]}') AS set;
SELECT '[1]'::semid || 2 AS int, '[1]'::semid || 2::smallint AS smallint, '[1]'::semid || '2' AS untyped,
       semid_append('[1]', 2) AS function;
DROP VIEW p_functions;
\pset format aligned
