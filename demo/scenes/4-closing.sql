-- How scene 4 ends, whatever its items are: the plans compared. Needs :allowed and :asking.
SELECT demo.milliseconds(:'asking', 'index') AS t_ask,
       demo.milliseconds(demo.ten_best(:'allowed', 'index'), 'index') AS t_index,
       demo.milliseconds(demo.ten_best(:'allowed', 'sequential'), 'sequential', 7) AS t_sequential,
       demo.rows(demo.ten_best(:'allowed', 'index'), 'index')
       = demo.rows(demo.ten_best(:'allowed', 'sequential'), 'sequential') AS same \gset
SELECT format('» Same rows as the sequential plan: %s. Medians: %s ms to work out the question, %s ms for the ten best by the index, %s ms without it.',
              CASE WHEN :'same' THEN 'yes' ELSE 'no' END, :t_ask, :t_index, :t_sequential)
 \g (format=unaligned tuples_only=on)
SELECT demo.check('the index and the sequential plan give the same ten items', :'same') \g (format=unaligned tuples_only=on)
SELECT demo.check('the planner chooses the index',
                  EXISTS (SELECT FROM demo.plan(demo.ten_best(:'allowed', 'index')) AS line
                          WHERE line LIKE '%Index Scan using items_sid%')) \g (format=unaligned tuples_only=on)
