-- Worker processes and the work under way

CREATE FUNCTION semtok.worker_list(OUT kind text, OUT pid int, OUT backend int, OUT engine text,
	OUT device text, OUT device_memory bigint, OUT device_memory_limit bigint, OUT threads int, OUT memory bigint,
	OUT memory_limit bigint, OUT codebooks int, OUT tries int, OUT cache_bytes bigint, OUT clients int,
	OUT requests bigint, OUT batches bigint, OUT rows bigint,
	OUT searches bigint, OUT fallbacks bigint, OUT restarts bigint, OUT round_trip_us float8,
	OUT offload_above_us float8, OUT last_error text, OUT started_at timestamptz, OUT state text)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'semtok_worker_list' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED
	ROWS 10;
COMMENT ON FUNCTION semtok.worker_list() IS 'what the view semtok.workers shows';

CREATE VIEW semtok.workers AS SELECT * FROM semtok.worker_list();
COMMENT ON VIEW semtok.workers IS
	'the shared worker process, those of single sessions, and requests that sessions had to compute themselves';
GRANT SELECT ON semtok.workers TO PUBLIC;

CREATE FUNCTION semtok.progress_list(OUT pid int, OUT datid oid, OUT usesysid oid, OUT verb text,
	OUT subject text, OUT phase text, OUT computed text, OUT level int, OUT levels int,
	OUT epoch int, OUT epochs int, OUT rows_done bigint, OUT rows_total bigint, OUT loss float8,
	OUT rate float8, OUT began timestamptz, OUT eta timestamptz)
	RETURNS SETOF record
	AS 'MODULE_PATHNAME', 'semtok_progress_list' LANGUAGE C VOLATILE STRICT PARALLEL RESTRICTED
	ROWS 10;
COMMENT ON FUNCTION semtok.progress_list() IS 'what the view semtok.stat_progress shows';

CREATE VIEW semtok.stat_progress AS
	SELECT p.pid, d.datname, r.rolname AS usename, p.verb, p.subject, p.phase, p.computed, p.level,
		p.levels, p.epoch, p.epochs, p.rows_done, p.rows_total, p.loss, p.rate, p.began, p.eta
	FROM semtok.progress_list() AS p
		LEFT JOIN pg_catalog.pg_database AS d ON d.oid OPERATOR(pg_catalog.=) p.datid
		LEFT JOIN pg_catalog.pg_roles AS r ON r.oid OPERATOR(pg_catalog.=) p.usesysid;
COMMENT ON VIEW semtok.stat_progress IS 'the verbs at work in all sessions, and how far they are';
GRANT SELECT ON semtok.stat_progress TO PUBLIC;
