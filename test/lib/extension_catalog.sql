-- All that the catalog knows of the extension, a line a fact, without OIDs: two installations are the
-- same when this says the same. It is what an updated extension is compared by with a new one.
--
-- Not compared: in which order objects were made, and by which statement an operator family got its
-- members.
SET search_path = pg_catalog;
CREATE TEMP VIEW members AS
	SELECT classid, objid, i.type, i.identity
	FROM pg_depend, pg_identify_object(classid, objid, 0) AS i
	WHERE deptype = 'e' AND refclassid = 'pg_extension'::regclass
	AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'semtok');

-- A list of rights in an order of its own.
CREATE FUNCTION pg_temp.rights(acl aclitem[]) RETURNS text LANGUAGE sql AS
	$$ SELECT string_agg(r::text, ' ' ORDER BY r::text) FROM unnest(acl) AS r $$;

WITH relation AS (SELECT m.identity, c.* FROM members AS m JOIN pg_class AS c ON classid = 'pg_class'::regclass AND objid = c.oid),
fact (fact) AS (
	SELECT concat_ws(' | ', 'extension', extversion, extrelocatable, extnamespace::regnamespace,
		obj_description(oid, 'pg_extension')) FROM pg_extension WHERE extname = 'semtok'
	UNION ALL SELECT concat_ws(' | ', 'dumped', c.oid::regclass, condition)
	FROM pg_extension, unnest(extconfig, extcondition) AS c (oid, condition) WHERE extname = 'semtok'
	UNION ALL SELECT concat_ws(' | ', type, identity, obj_description(objid, classid::regclass::name)) FROM members
	UNION ALL SELECT concat_ws(' | ', 'initial rights', type, identity, objsubid, pg_temp.rights(initprivs))
	FROM members JOIN pg_init_privs ON classoid = classid AND objoid = objid
	UNION ALL SELECT concat_ws(' | ', 'needs', m.type, m.identity, objsubid, d.deptype,
		pg_describe_object(refclassid, refobjid, refobjsubid))
	FROM members AS m JOIN pg_depend AS d USING (classid, objid)
	WHERE d.deptype <> 'e' AND NOT (refclassid = 'pg_class'::regclass AND refobjid >= 16384 AND d.deptype = 'a')

	UNION ALL SELECT concat_ws(' | ', identity, nspowner::regrole, pg_temp.rights(nspacl))
	FROM members JOIN pg_namespace AS n ON classid = 'pg_namespace'::regclass AND objid = n.oid
	UNION ALL SELECT concat_ws(' | ', identity, prokind, proleakproof, probin, prosrc, proowner::regrole, pg_temp.rights(proacl),
		CASE WHEN prokind <> 'a' THEN pg_get_functiondef(p.oid) END, pg_get_function_arguments(p.oid), provariadic)
	FROM members JOIN pg_proc AS p ON classid = 'pg_proc'::regclass AND objid = p.oid
	UNION ALL SELECT concat_ws(' | ', identity, aggkind, aggtransfn, aggfinalfn, aggcombinefn, aggserialfn, aggdeserialfn,
		aggmtransfn, aggsortop::regoperator, aggtranstype::regtype, aggtransspace, aggfinalmodify, aggfinalextra, agginitval)
	FROM members JOIN pg_aggregate ON classid = 'pg_proc'::regclass AND objid = aggfnoid::oid
	UNION ALL SELECT concat_ws(' | ', identity, typowner::regrole, typlen, typbyval, typtype, typcategory, typispreferred,
		typdelim, typrelid::regclass, typsubscript, typelem::regtype, typinput, typoutput, typreceive, typsend, typmodin,
		typmodout, typanalyze, typalign, typstorage, typnotnull, typbasetype::regtype, typtypmod, typcollation::regcollation,
		typdefault, pg_temp.rights(typacl))
	FROM members JOIN pg_type AS t ON classid = 'pg_type'::regclass AND objid = t.oid
	UNION ALL SELECT concat_ws(' | ', identity, conname, pg_get_constraintdef(c.oid), obj_description(c.oid, 'pg_constraint'))
	FROM members JOIN pg_constraint AS c ON (classid, objid) IN (('pg_type'::regclass, contypid), ('pg_class'::regclass, conrelid))
	UNION ALL SELECT concat_ws(' | ', identity, oprowner::regrole, oprcanmerge, oprcanhash, oprresult::regtype,
		oprcom::regoperator, oprnegate::regoperator, oprcode, oprrest, oprjoin)
	FROM members JOIN pg_operator AS o ON classid = 'pg_operator'::regclass AND objid = o.oid
	UNION ALL SELECT concat_ws(' | ', identity, opcowner::regrole, opcintype::regtype, opcdefault, opckeytype::regtype)
	FROM members JOIN pg_opclass AS o ON classid = 'pg_opclass'::regclass AND objid = o.oid
	UNION ALL SELECT concat_ws(' | ', identity, amoplefttype::regtype, amoprighttype::regtype, amopstrategy, amoppurpose,
		amopopr::regoperator, (SELECT opfname FROM pg_opfamily AS s WHERE s.oid = amopsortfamily))
	FROM members JOIN pg_amop ON classid = 'pg_opfamily'::regclass AND objid = amopfamily
	UNION ALL SELECT concat_ws(' | ', identity, amproclefttype::regtype, amprocrighttype::regtype, amprocnum, amproc::regprocedure)
	FROM members JOIN pg_amproc ON classid = 'pg_opfamily'::regclass AND objid = amprocfamily
	UNION ALL SELECT concat_ws(' | ', identity, amtype, amhandler)
	FROM members JOIN pg_am AS a ON classid = 'pg_am'::regclass AND objid = a.oid
	UNION ALL SELECT concat_ws(' | ', identity, castfunc::regprocedure, castcontext, castmethod)
	FROM members JOIN pg_cast AS c ON classid = 'pg_cast'::regclass AND objid = c.oid

	UNION ALL SELECT concat_ws(' | ', identity, relkind, relpersistence, relowner::regrole, reloptions::text, relrowsecurity,
		pg_temp.rights(relacl)) FROM relation
	UNION ALL SELECT concat_ws(' | ', identity, attnum, attname, format_type(atttypid, atttypmod), attnotnull, attstorage,
		attcompression, attcollation::regcollation, attstattarget, pg_get_expr(adbin, adrelid), pg_temp.rights(attacl),
		col_description(attrelid, attnum))
	FROM relation AS r JOIN pg_attribute ON attrelid = r.oid LEFT JOIN pg_attrdef ON adrelid = attrelid AND adnum = attnum
	WHERE attnum > 0
	UNION ALL SELECT concat_ws(' | ', identity, pg_get_indexdef(indexrelid), indisprimary, obj_description(indexrelid, 'pg_class'))
	FROM relation AS r JOIN pg_index ON indrelid = r.oid
	UNION ALL SELECT concat_ws(' | ', identity, pg_get_triggerdef(t.oid), tgenabled)
	FROM relation AS r JOIN pg_trigger AS t ON tgrelid = r.oid
	UNION ALL SELECT concat_ws(' | ', identity, pg_get_viewdef(oid)) FROM relation WHERE relkind = 'v'
	UNION ALL SELECT concat_ws(' | ', identity, seqtypid::regtype, seqstart, seqincrement, seqmin, seqmax, seqcache, seqcycle)
	FROM relation AS r JOIN pg_sequence ON seqrelid = r.oid)
SELECT translate(fact, E'\n\t', '  ') FROM fact ORDER BY fact COLLATE "C";
