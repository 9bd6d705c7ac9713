-- PG-35: SET ROLE and SET SESSION AUTHORIZATION.

select current_user, session_user;

set role app;

select current_user;

show role;

set role other;

set role none;

reset role;

set session authorization app;

select current_user, session_user;

set session authorization other;

reset session authorization;

begin; set local role app; show role; commit;

show role;
