-- The stored forms are final: these bytes may never change. The binary form of each type is its
-- stored form without PostgreSQL's length word.
\pset format unaligned
\pset tuples_only on
SELECT encode(semid_send(s), 'hex') FROM unnest('{"[12,7,255]","[0]","[65535,256]@2147483647","[1,2,3]@3"}'::semid[]) s;
SELECT encode(semid_send(array_agg(i * 1000)::int[]::semid), 'hex') FROM generate_series(0, 31) i;
SELECT encode(codebook_send(codebook_agg(l, c, array[l, c + 0.5, -0.0]::real[], metric)), 'hex'), codebook_hash(codebook_agg(l, c, array[l, c + 0.5, -0.0]::real[], metric))
FROM generate_series(0, 1) l, generate_series(0, 1) c, unnest('{l2,ip,cosine}'::text[]) metric WHERE l + c < 2 GROUP BY metric ORDER BY metric;
SELECT encode(semset_send(s), 'hex') FROM unnest('{"{}","{[7]}","{[1,2],[1,3],[2],[2,300,4]}","{[1],[1]@1,[2,5]@1,[9]@2147483647}"}'::semset[]) s;
SELECT encode(semquery_send(q), 'hex') FROM (VALUES
	(1, semtok.logits('{1,2,3}', '{1,2}', 9, 'full')),
	(2, semtok.logits('{1,2,-Infinity}', '{1,2}', 0, 'none')),
	(3, semtok.logits('{1,2,3}', '{1,2}', 0, 'masked')),
	(4, semtok.logits('{1,2,3}', '{1,2}', 0, 'masked', '{[0,1]@5,[0,0]}')),
	(5, semtok.logits('{1,2,3}', '{1,2}', 0, 'full', '{[0,1],[0,1,4]}')),
	(6, semtok.logits('{0,1,2,3,4,5,6,7,8,9}', '{10}', 2147483647, 'none')),
	(7, semtok.neighbors('{"dim":1,"sizes":[2,1],"metric":"l2","data":"AACAPwAAAEAAAEBA"}'::codebook, '{1.5}')),
	(8, semtok.neighbors('{"dim":1,"sizes":[2,1],"metric":"cosine","data":"AACAPwAAgL8AAEBA"}'::codebook, '{1.5}')),
	(9, semtok.neighbors('{"dim":1,"sizes":[2,1],"metric":"ip","data":"AACAPwAAAEAAAEBA"}'::codebook, '{1.5}'))) t(n, q) ORDER BY n;
SELECT encode(codebook_to_safetensors('{"dim":1,"sizes":[2,1],"metric":"l2","data":"AACAPwAAAEAAAEBA"}'), 'escape');
-- what lies on disk is that form: lengths with their header, kept inline
CREATE TABLE stored (sid semid, cb codebook, ids semset, q semquery);
INSERT INTO stored VALUES ('[12,7,255]@3', '{"dim":1,"sizes":[2,1],"metric":"l2","data":"AACAPwAAAEAAAEBA"}', '{[1,2]}', semtok.logits('{1}', '{1}'));
SELECT pg_column_size(sid), pg_column_size(cb), pg_column_size(ids), pg_column_size(q) FROM stored;
SELECT typname, typlen, typalign, typstorage FROM pg_type WHERE oid IN ('semid'::regtype, 'codebook'::regtype, 'semset'::regtype, 'semquery'::regtype) ORDER BY typname;
DROP TABLE stored;
