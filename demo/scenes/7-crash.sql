\echo » Four sessions inserted items, one a transaction; in the middle of it the server and all its processes got kill -9. It was started again and recovered.
SELECT count(*) AS acknowledged, count(i.item_id) AS in_table, count(f.item_id) AS by_index
FROM acknowledged AS a
     LEFT JOIN items AS i USING (item_id)
     LEFT JOIN LATERAL (SELECT item_id FROM items WHERE sid = i.sid OFFSET 0) AS f
     ON f.item_id = a.item_id \gset
SELECT format('» Acknowledged before the kill: %s inserts. After recovery the table holds %s of them and the index finds %s.',
              :acknowledged, :in_table, :by_index) \g (format=unaligned tuples_only=on)
SELECT demo.check('every acknowledged insert is in the table and found by the index',
                  :acknowledged >= 500 AND :in_table = :acknowledged AND :by_index = :acknowledged)
\g (format=unaligned tuples_only=on)
:show
SELECT semtok.index_check('items_sid', true);
:hide
DELETE FROM items WHERE item_id >= 1000000;
VACUUM ANALYZE items;
