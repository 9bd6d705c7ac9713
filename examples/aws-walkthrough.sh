#!/usr/bin/env bash
# The life of a proxy, by the aws command alone: a database is registered, with its replica if there is one, a secret
# stored, a proxy made, used with psql or mariadb by password and by token, its secret changed under load, its pool
# tuned, an endpoint added, which is for reading where there is a replica; then everything is deleted.
#
# Needs a Berth with an Api (AWS_ENDPOINT_URL), a principal of it that may do all this and rds-db:connect, a database and a
# user in it (below), aws, and psql or mariadb. The user's password is changed at the end.
set -euo pipefail

: "${AWS_ENDPOINT_URL:=http://127.0.0.1:8400}" "${AWS_DEFAULT_REGION:=us-east-1}"
: "${AWS_ACCESS_KEY_ID:?of a principal}" "${AWS_SECRET_ACCESS_KEY:?its secret}"
: "${DB_ENGINE:=postgres}"          # or mysql, or mariadb
# Of a cluster DB_PORT may be that of any member, and DB_READER_PORT that of another.
: "${DB_HOST:=127.0.0.1}" "${DB_PORT:=5432}" "${DB_READER_PORT:=}" "${DB_NAME:=app}" "${DB_USER:=app}" "${DB_PASSWORD:?the password of $DB_USER}"
: "${NEW_PASSWORD:=rotated-$RANDOM$RANDOM}"
: "${CA_FILE:?a file with what berth ca prints}"
: "${LOAD_SECONDS:=5}"
export AWS_ENDPOINT_URL AWS_DEFAULT_REGION AWS_ACCESS_KEY_ID AWS_SECRET_ACCESS_KEY AWS_PAGER=
export AWS_EC2_METADATA_DISABLED=true

name=walkthrough
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

say() { printf '\n== %s\n' "$*"; }
# Old versions of aws know no AWS_ENDPOINT_URL.
ask() { aws --endpoint-url "$AWS_ENDPOINT_URL" --region "$AWS_DEFAULT_REGION" --output text "$@"; }
secret() { printf '{"username": "%s", "password": "%s"}' "$DB_USER" "$1"; }

# auth DISABLED|REQUIRED: how users log in to the proxy.
auth() { printf '[{"AuthScheme": "SECRETS", "SecretArn": "%s", "IAMAuth": "%s"}]' "$arn" "$1"; }

# query HOST PORT PASSWORD SQL: through the proxy, whose name or address the certificate has to have.
query() {
  case $DB_ENGINE in
    postgres)
      PGPASSWORD=$3 PGCONNECT_TIMEOUT=20 psql --no-psqlrc -qtAX -v ON_ERROR_STOP=1 -c "$4" \
        "host=$1 port=$2 user=$DB_USER dbname=$DB_NAME sslmode=verify-full sslrootcert=$CA_FILE" ;;
    *)
      MYSQL_PWD=$3 mariadb --no-defaults --host="$1" --port="$2" --user="$DB_USER" -N -e "$4" \
        --ssl-ca="$CA_FILE" --ssl-verify-server-cert "$DB_NAME" ;;
  esac
}

# The new password at the database itself, as a rotation function would set it.
change_password() {
  case $DB_ENGINE in
    postgres)
      PGPASSWORD=$DB_PASSWORD psql --no-psqlrc -qX -v ON_ERROR_STOP=1 -h "$DB_HOST" -p "$DB_PORT" -U "$DB_USER" \
        -d "$DB_NAME" -c "ALTER USER \"$DB_USER\" PASSWORD '$NEW_PASSWORD'" ;;
    mariadb)
      MYSQL_PWD=$DB_PASSWORD mariadb --no-defaults --host="$DB_HOST" --port="$DB_PORT" --user="$DB_USER" \
        -e "SET PASSWORD = PASSWORD('$NEW_PASSWORD')" ;;
    mysql)
      MYSQL_PWD=$DB_PASSWORD mariadb --no-defaults --host="$DB_HOST" --port="$DB_PORT" --user="$DB_USER" \
        -e "ALTER USER USER() IDENTIFIED BY '$NEW_PASSWORD'" ;;
  esac
}

# register NAME PORT [OPTION...]: a database that is there.
register() {
  ask rds create-db-instance --db-instance-identifier "$1" --db-instance-class db.berth --engine "$DB_ENGINE" \
    --port "$2" --tags Key=berth:address,Value="$DB_HOST" --query DBInstance.DBInstanceStatus "${@:3}"
}

# until_available: RDS takes minutes for this, Berth a moment.
until_available() {
  for _ in $(seq 150); do
    states=$(ask rds describe-db-proxy-targets --db-proxy-name $name --query "Targets[?Type=='RDS_INSTANCE'].TargetHealth.State")
    [[ $states =~ ^(AVAILABLE[[:space:]]*)+$ ]] && return
    sleep 0.2
  done
  ask rds describe-db-proxy-targets --db-proxy-name $name
  return 1
}

case $DB_ENGINE in postgres) family=POSTGRESQL port=5432 ;; *) family=MYSQL port=3306 ;; esac

say 'register a database that is there'
if [ -z "$DB_READER_PORT" ]; then
  register $name-db "$DB_PORT"
  target=(--db-instance-identifiers $name-db) role=READ_WRITE
else
  ask rds create-db-cluster --db-cluster-identifier $name-cluster --engine "$DB_ENGINE" --query DBCluster.Status
  register $name-db "$DB_PORT" --db-cluster-identifier $name-cluster
  register $name-reader "$DB_READER_PORT" --db-cluster-identifier $name-cluster
  target=(--db-cluster-identifiers $name-cluster) role=READ_ONLY
fi

say 'store a secret'
arn=$(ask secretsmanager create-secret --name $name-secret --secret-string "$(secret "$DB_PASSWORD")" --query ARN)
echo "$arn"

say 'create a proxy and give it a target'
ask rds create-db-proxy --db-proxy-name $name --engine-family $family --role-arn arn:aws:iam::123456789012:role/rds-proxy-role \
  --auth "$(auth DISABLED)" \
  --vpc-subnet-ids subnet-abc123 subnet-def456 --vpc-security-group-ids sg-12345678 --query DBProxy.DBProxyArn
ask rds register-db-proxy-targets --db-proxy-name $name "${target[@]}" \
  --query 'DBProxyTargets[0].TargetHealth.State'
until_available
host=$(ask rds describe-db-proxies --db-proxy-name $name --query 'DBProxies[0].Endpoint')
echo "$host"

say 'use it, with TLS and a verified certificate'
query "$host" $port "$DB_PASSWORD" "select 'it works'"

say "change the password under load"
(
  while [ ! -e "$scratch/stop" ]; do
    # Before the change the old password, after it either.
    password=$DB_PASSWORD; [ -e "$scratch/changed" ] && password=$NEW_PASSWORD
    if query "$host" $port "$password" 'select 1' >/dev/null 2>>"$scratch/errors"
    then echo >>"$scratch/done"; else echo >>"$scratch/failed"; fi
  done
) &
load=$!
sleep $((LOAD_SECONDS / 2))
change_password
ask secretsmanager put-secret-value --secret-id $name-secret --secret-string "$(secret "$NEW_PASSWORD")" --query VersionStages
touch "$scratch/changed"
sleep $((LOAD_SECONDS - LOAD_SECONDS / 2))
touch "$scratch/stop"
wait $load
if [ -e "$scratch/failed" ]; then cat "$scratch/errors"; exit 1; fi
echo "$(wc -l <"$scratch/done") statements, none failed"

say 'tune the pool'
ask rds modify-db-proxy-target-group --db-proxy-name $name --target-group-name default \
  --connection-pool-config MaxConnectionsPercent=50,ConnectionBorrowTimeout=30 \
  --query 'DBProxyTargetGroup.ConnectionPoolConfig.MaxConnectionsPercent'

say "add an endpoint, $role"
reports=$(ask rds create-db-proxy-endpoint --db-proxy-name $name --db-proxy-endpoint-name $name-reports \
  --vpc-subnet-ids subnet-abc123 subnet-def456 --target-role $role --query DBProxyEndpoint.Endpoint)
query "$reports" $port "$NEW_PASSWORD" "select 'the endpoint works, too'"
if [ $role = READ_ONLY ] && query "$reports" $port "$NEW_PASSWORD" 'create table written (a int)' 2>/dev/null
then echo 'a reader took what writes'; exit 1; fi

say 'from now on a token in place of the password, good for 15 minutes'
ask rds modify-db-proxy --db-proxy-name $name --auth "$(auth REQUIRED)" --query 'DBProxy.Auth[0].IAMAuth'
token=$(ask rds generate-db-auth-token --hostname "$host" --port $port --username "$DB_USER")
query "$host" $port "$token" "select 'the token works'"
if query "$host" $port "$NEW_PASSWORD" 'select 1' 2>/dev/null; then echo 'the password still works'; exit 1; fi

say 'what has happened'
ask rds describe-events --source-type db-proxy --source-identifier $name --duration 10 --query 'Events[].Message' | tr '\t' '\n'

say 'delete everything'
ask rds delete-db-proxy-endpoint --db-proxy-endpoint-name $name-reports --query DBProxyEndpoint.Status
ask rds deregister-db-proxy-targets --db-proxy-name $name "${target[@]}"
ask rds delete-db-proxy --db-proxy-name $name --query DBProxy.Status
for instance in $name-db ${DB_READER_PORT:+$name-reader}; do
  ask rds delete-db-instance --db-instance-identifier $instance --skip-final-snapshot --query DBInstance.DBInstanceStatus
done
if [ $role = READ_ONLY ]; then
  ask rds delete-db-cluster --db-cluster-identifier $name-cluster --skip-final-snapshot --query DBCluster.Status
fi
ask secretsmanager delete-secret --secret-id $name-secret --force-delete-without-recovery --query Name
