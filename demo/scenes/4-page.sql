\echo » Three more, with rules: they take an oid first, none of the ten above, and at most one with the same first code, for those are much alike. The rules are part of the search.
:show
SELECT rank, sid, round(logprob::numeric, 2) AS logprob, left(title, 60) AS title
FROM question, semtok.beam_search_set(
         (SELECT semset_agg(sid) FROM items WHERE facet = 'oid'), q, k => 3,
         exclude => (SELECT semset_agg(sid) FROM (SELECT sid FROM items ORDER BY sid <~> (SELECT q FROM question) LIMIT 10) AS ten),
         max_per_prefix => '{"1": 1}')
     JOIN items USING (sid) ORDER BY rank;
:hide
SELECT demo.check('three that keep the rules', count(*) = 3 AND count(DISTINCT semid_code(sid, 0)) = 3 AND bool_and(facet = 'oid'))
FROM question, semtok.beam_search_set(
         (SELECT semset_agg(sid) FROM items WHERE facet = 'oid'), q, k => 3,
         exclude => (SELECT semset_agg(sid) FROM (SELECT sid FROM items ORDER BY sid <~> (SELECT q FROM question) LIMIT 10) AS ten),
         max_per_prefix => '{"1": 1}')
     JOIN items USING (sid) \g (format=unaligned tuples_only=on)
