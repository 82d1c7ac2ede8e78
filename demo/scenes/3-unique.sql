CREATE TABLE published AS SELECT item_id, sid FROM items;
\echo » Items with nearly the same embedding get the same id. These ids are shared by most items:
:show
SELECT * FROM semtok.collisions('items', 'sid') ORDER BY items DESC, sid LIMIT 3;
:hide

\echo » Where every item needs an id of its own, one level is appended, and only where an id is shared: the first item keeps the id, the others give it back and get longer ones. The id of one item never passes to another.
:show
UPDATE items SET sid = NULL WHERE EXISTS (
    SELECT FROM items AS first WHERE first.sid = items.sid AND first.item_id < items.item_id);

CALL semtok.tokenize('items', 'embedding', 'sid', 'items', collisions => 'append');
:hide
SELECT sid AS worst FROM published GROUP BY sid ORDER BY count(*) DESC, sid LIMIT 1 \gset
:show
SELECT item_id, left(title, 60) AS title, sid FROM items
WHERE sid ^@ :'worst' ORDER BY sid LIMIT 5;
:hide

SELECT format('» %s items kept their id, %s got a longer one.', count(*) FILTER (WHERE i.sid = p.sid),
              count(*) FILTER (WHERE i.sid <> p.sid))
FROM items AS i JOIN published AS p USING (item_id) \g (format=unaligned tuples_only=on)
SELECT demo.check('every item has an id of its own', count(*) = count(DISTINCT sid)) FROM items
\g (format=unaligned tuples_only=on)
SELECT demo.check('every id that one item had alone is unchanged, every other continues the old one',
                  bool_and(i.sid = p.sid OR (i.sid ^@ p.sid AND p.holders > 1)))
FROM items AS i
     JOIN (SELECT *, count(*) OVER (PARTITION BY sid) AS holders FROM published) AS p USING (item_id)
\g (format=unaligned tuples_only=on)
