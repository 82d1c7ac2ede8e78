CREATE TABLE my_items AS SELECT item_id, title, embedding FROM items ORDER BY item_id LIMIT 3000;
\echo » The same for a table of your own, my_items with a column embedding of type real[] (or the vector of pgvector): three lines.
:show
SELECT semtok.train('mine', 'SELECT embedding FROM my_items', codes => 64);
ALTER TABLE my_items ADD sid semid; CALL semtok.tokenize('my_items', 'embedding', 'sid', 'mine');
CREATE INDEX ON my_items USING semtrie (sid);
:hide
\echo » and a first question: what is most like item 100?
:show
SELECT title FROM my_items ORDER BY sid <~>
  (SELECT semtok.neighbors('mine', embedding) FROM my_items WHERE item_id = 100) LIMIT 5;
:hide
SELECT demo.check('the three lines work as pasted', count(sid) = count(*)) FROM my_items \g (format=unaligned tuples_only=on)
