-- Before every scene: how psql prints, and what the scenes share.
--
-- :show starts showing statements and their times, :hide stops it. Lines that begin with » are
-- sentences, which demo/lib.sh wraps.
\set QUIET on
\set ON_ERROR_STOP on
\set show '\\set ECHO queries \\timing on'
\set hide '\\set ECHO none \\timing off'
\pset footer off
\pset format wrapped
\pset columns 98
\pset linestyle unicode
\pset null '·'
SET client_min_messages = notice;
