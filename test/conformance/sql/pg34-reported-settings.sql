-- PG-34: the settings that the server reports to the client.

set timezone = 'Europe/Berlin';

set datestyle = 'SQL, DMY';

set intervalstyle = iso_8601;

select timestamptz '2024-07-01 12:00:00+00', date '2024-07-01', interval '1 day 2 hours';

set application_name = 'mine';

show application_name;

set application_name = '';

show application_name;

set standard_conforming_strings = off;

select 'back\\slash';

set standard_conforming_strings = on;

set datestyle = 'ISO';

set datestyle = 'ISO, MDY';

set TimeZone to default;

show timezone;

set search_path = pg_catalog;

set default_transaction_read_only = on;

reset all;

show datestyle;
