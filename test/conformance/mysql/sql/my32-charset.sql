-- MY-32: character sets, from the handshake, changed, unset, and reset.

show session variables like 'character\_set\_%';

select @@collation_connection;

set names latin1;

show session variables like 'character\_set\_c%';

select 'é', hex('é');

set names utf8mb4 collate utf8mb4_bin;

select @@collation_connection, 'é', hex('é'), length('é');

set character_set_results = null;

select _latin1 0xe9, @@character_set_results;

set character set utf8mb4;

select @@collation_connection, @@character_set_results;

set names default;

select @@character_set_client;

set names nonsense;

set names 'utf8mb4' collate 'latin1_bin';

set collation_connection = utf8mb4_unicode_ci;

select @@collation_connection, 'a' = 'A';
