\echo » The catalog changes while it is searched: a new item is found at once, a deleted one is gone, and all of it belongs to the transaction.
SELECT item_id AS example, sid AS sid FROM items ORDER BY item_id LIMIT 1 \gset
TRUNCATE question;
INSERT INTO question SELECT semtok.neighbors('items', embedding) FROM items WHERE item_id = :example;
CREATE TEMP TABLE before AS SELECT item_id FROM items ORDER BY sid <~> (SELECT q FROM question) LIMIT 5;
SELECT item_id AS second FROM before WHERE item_id <> :example LIMIT 1 \gset
:show
SELECT item_id, left(title, 60) AS title, sid FROM items
ORDER BY sid <~> (SELECT q FROM question) LIMIT 3;

BEGIN;
INSERT INTO items (item_id, title, embedding, sid)
SELECT 1000000, 'A brand-new item', embedding, semtok.encode('items', embedding)
FROM items WHERE item_id = :example;
DELETE FROM items WHERE item_id = :second;

SELECT item_id, left(title, 60) AS title, sid FROM items
ORDER BY sid <~> (SELECT q FROM question) LIMIT 3;

ROLLBACK;

SELECT item_id, left(title, 60) AS title, sid FROM items
ORDER BY sid <~> (SELECT q FROM question) LIMIT 3;
:hide
BEGIN;
INSERT INTO items (item_id, title, embedding, sid)
SELECT 1000000, 'A brand-new item', embedding, semtok.encode('items', embedding)
FROM items WHERE item_id = :example;
DELETE FROM items WHERE item_id = :second;
CREATE TEMP TABLE during AS SELECT item_id FROM items ORDER BY sid <~> (SELECT q FROM question) LIMIT 5;
SELECT demo.check('inside the transaction the new item is found and the deleted one is not',
                  bool_or(item_id = 1000000) AND NOT bool_or(item_id = :second)) FROM during \g (format=unaligned tuples_only=on)
ROLLBACK;
SELECT demo.check('after ROLLBACK the answer is the one before',
    array(SELECT item_id FROM items ORDER BY sid <~> (SELECT q FROM question) LIMIT 5)
    = array(SELECT item_id FROM before)) \g (format=unaligned tuples_only=on)
