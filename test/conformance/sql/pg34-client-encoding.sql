-- PG-34: the client's encoding changes what bytes mean.

set client_encoding = 'LATIN1';

select chr(228) || chr(246);

select chr(8364);

set client_encoding to 'SQL_ASCII';

select chr(228);

set names 'UTF8';

select chr(8364);

set client_encoding = 'nonsense';

reset client_encoding;

show client_encoding;
