\echo » Items change, and one day the tokenizer is trained again. The new version gets an id of its own (not the next one: after a crash sequences skip numbers); until it is activated everything goes on with the old one.
:show
SELECT semtok.train('items', 'SELECT embedding FROM items', levels => :levels, codes => :codes,
                    epochs => 10, seed => 7) AS new \gset
SELECT id, name, version, active FROM semtok.tokenizers ORDER BY id;
:hide

SELECT format('» Trained again, it gives %s of the items another id: a code means nothing outside its own training. So the new ids are prepared beside the old ones,',
              demo.percent(avg((semid_codes(semtok.encode(:new, embedding))
                                <> semid_codes(semtok.encode(1, embedding)))::int), 1))
FROM items \g (format=unaligned tuples_only=on)
:show
ALTER TABLE items ADD new_sid semid;
CALL semtok.tokenize('items', 'embedding', 'new_sid', 'items', version => 2);
CREATE INDEX items_new_sid ON items USING semtrie (new_sid);

SELECT left(title, 50) AS title, sid, new_sid FROM items ORDER BY item_id LIMIT 4;
:hide

SELECT item_id AS example FROM items ORDER BY item_id LIMIT 1 \gset
\echo » both answer the same question at the same time,
:show
SELECT left(title, 90) AS by_the_old_ids FROM items
ORDER BY sid <~> (SELECT semtok.neighbors(1, embedding) FROM items WHERE item_id = :example) LIMIT 3;

SELECT left(title, 90) AS by_the_new_ids FROM items
ORDER BY new_sid <~> (SELECT semtok.neighbors(:new, embedding) FROM items WHERE item_id = :example)
LIMIT 3;
:hide

\echo » and switching is one statement, back as well as forth.
:show
SELECT semtok.activate('items', 2);
SELECT semtok.encode('items', embedding) FROM items WHERE item_id = :example;
SELECT semtok.activate('items', 1);
SELECT semtok.encode('items', embedding) FROM items WHERE item_id = :example;
:hide
SELECT demo.check('after the switch and back the name encodes as before',
                  semtok.encode('items', embedding) = semtok.encode(1, embedding)) FROM items
WHERE item_id = :example \g (format=unaligned tuples_only=on)
SELECT demo.check('the ids published in sid did not change meanwhile',
                  bool_and(semid_tokenizer(sid) = 1)) FROM items \g (format=unaligned tuples_only=on)
ALTER TABLE items DROP new_sid;
