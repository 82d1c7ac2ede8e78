-- Every object of the extension says what it is. (The array and row types that come with others
-- are objects of the extension from PostgreSQL 17 on.)
SELECT pg_describe_object(d.classid, d.objid, d.objsubid) AS without_comment
  FROM pg_depend d JOIN pg_extension e ON d.refclassid = 'pg_extension'::regclass AND d.refobjid = e.oid
 WHERE e.extname = 'semtok' AND d.deptype = 'e'
   AND obj_description(d.objid, d.classid::regclass::name) IS NULL
   AND NOT (d.classid = 'pg_type'::regclass AND EXISTS (
	SELECT FROM pg_type t LEFT JOIN pg_class c ON c.oid = t.typrelid
	 WHERE t.oid = d.objid AND (t.typcategory = 'A' OR c.relkind <> 'c')))
 ORDER BY 1;
