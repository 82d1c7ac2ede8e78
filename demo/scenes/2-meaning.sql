SELECT semid_prefix(sid, 2) AS prefix FROM items
GROUP BY 1 HAVING count(*) >= 8 ORDER BY count(DISTINCT leaf), count(*), 1 LIMIT 1 \gset
\echo » Ids are not arbitrary numbers: items under the same prefix are alike. The index serves the prefix search.
:show
SELECT sid, left(title, 72) AS title FROM items WHERE sid ^@ :'prefix' ORDER BY sid LIMIT 8;
:hide

SELECT format('» In numbers: of the pairs of items with no, one or two first codes in common, how many have the same %s?',
              :'leaf') \g (format=unaligned tuples_only=on)
:show
SELECT codes_in_common, sum(n * (n - 1) / 2)::bigint AS pairs,
       demo.percent(sum(same) / sum(n * (n - 1) / 2), 1) AS with_equal_leaf
FROM (SELECT codes_in_common, prefix, sum(n) AS n, sum(n * (n - 1) / 2) AS same
      FROM (SELECT k AS codes_in_common, (semid_codes(sid))[:k] AS prefix, leaf, count(*) AS n
            FROM items, generate_series(0, 2) AS k GROUP BY 1, 2, 3) AS leaves
      GROUP BY codes_in_common, prefix) AS prefixes
GROUP BY codes_in_common ORDER BY codes_in_common;
:hide
