-- How scene 4 ends, whatever its items are: the plans compared. Needs :allowed and :asking.
SELECT demo.milliseconds(:'asking') AS t_ask,
       demo.milliseconds(demo.ten_best(:'allowed', 'index')) AS t_index,
       demo.milliseconds(demo.ten_best(:'allowed', 'sequential')) AS t_sequential,
       demo.same_ten(:'allowed') AS same \gset
SELECT format('» Same rows as the sequential plan: %s. Medians: %s ms to work out the question, %s ms for the ten best by the index, %s ms without it.',
              CASE WHEN :'same' THEN 'yes' ELSE 'no' END, :t_ask, :t_index, :t_sequential)
\g (format=unaligned tuples_only=on)
SELECT demo.check('the index and the sequential plan give the same ten items', :'same')
\g (format=unaligned tuples_only=on)
SELECT demo.check('the planner chooses the index',
                  demo.uses_index(demo.ten_best(:'allowed', 'index'), 'items_sid'))
\g (format=unaligned tuples_only=on)
