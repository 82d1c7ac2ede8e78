-- Every object of the extension has a check in contract.sql.
SELECT * FROM no_plan();
\ir ../lib/checks.sql
\set within_objects
\o /dev/null
\ir contract.sql
\o
\ir ../lib/every_object.sql
SELECT * FROM finish();
