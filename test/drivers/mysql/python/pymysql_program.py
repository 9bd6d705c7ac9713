"""PyMySQL as an application uses it: a connection for each of its threads, all settings as they come."""

import datetime
import decimal
import json
import os
import threading

import pymysql
import pymysql.cursors

# More connections than the pool has.
CLIENTS = 12


def report(step, result):
    print(f"{step}: {json.dumps(result, default=str)}", flush=True)


def connect(**options):
    return pymysql.connect(
        host=os.environ["MYSQL_HOST"],
        port=int(os.environ["MYSQL_TCP_PORT"]),
        user=os.environ["MYSQL_USER"],
        password=os.environ["MYSQL_PWD"],
        database=os.environ["MYSQL_DATABASE"],
        **options,
    )


def run(connection, sql, values=None):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return [cursor.rowcount, cursor.lastrowid, cursor.fetchall()]


def failure(connection, sql, values=None):
    try:
        return run(connection, sql, values)
    except pymysql.Error as error:
        return [type(error).__name__, *error.args]


def types(connection):
    values = [
        "text with ' and \" and ü 🦑",
        -42,
        decimal.Decimal("1.000000001"),
        1e-7,
        True,
        datetime.datetime(2026, 2, 3, 4, 5, 6, 789000),
        datetime.timedelta(hours=-5),
        bytes([0, 1, 127, 128, 255]),
        None,
    ]
    for _ in range(3):
        report("types", run(connection, "select %s, %s, %s, %s, %s, %s, %s, %s, %s", values))


def transactions(connection):
    insert = "insert into pymysql_orders (customer) values (%s)"
    report("inserted", run(connection, insert, ["one"]))
    run(connection, "savepoint a")
    report("duplicate", failure(connection, insert, ["one"]))
    run(connection, "rollback to savepoint a")
    connection.commit()
    report("inserted", run(connection, insert, ["two"]))
    connection.rollback()
    report("many", many(connection, insert))
    connection.commit()
    report("orders", run(connection, "select customer from pymysql_orders order by id"))
    connection.commit()


def many(connection, insert):
    with connection.cursor() as cursor:
        return cursor.executemany(insert, [[f"customer {n}"] for n in range(300)])


def errors(connection):
    for _ in range(3):
        report("no table", failure(connection, "select * from pymysql_nowhere"))
        report("bad text", failure(connection, "selekt 1"))
        report("warned", run(connection, "select 'x' + 1"))
        report("warnings", connection.show_warnings())
        report("after", run(connection, "select 1"))
    connection.rollback()


def unbuffered():
    connection = connect(cursorclass=pymysql.cursors.SSCursor, autocommit=True)
    with connection.cursor() as cursor:
        cursor.execute("select id from pymysql_orders order by id")
        report("unbuffered", [len(cursor.fetchmany(10)), sum(id for (id,) in cursor)])
    connection.select_db("second")
    report("schema", run(connection, "select database()"))
    connection.ping()
    report("several", several())
    connection.close()


def several():
    connection = connect(client_flag=pymysql.constants.CLIENT.MULTI_STATEMENTS)
    results = []
    with connection.cursor() as cursor:
        cursor.execute("select 1; do 0; select 2")
        results.append(cursor.fetchall())
        while cursor.nextset():
            results.append(cursor.fetchall())
    connection.close()
    return results


def killed():
    sleeper = connect()
    killer = connect(autocommit=True)
    ended = []
    query = "select count(*), sleep(30) from pymysql_orders where id > 0"
    thread = threading.Thread(target=lambda: ended.append(failure(sleeper, query)))
    thread.start()
    while not run(killer, "select 1 from information_schema.processlist where info = %s", [query])[2]:
        pass
    run(killer, f"kill query {sleeper.thread_id()}")
    thread.join()
    # With an error, or with rows of sleep() that were cut short: MySQL does either.
    report("killed", len(ended))
    report("after", run(sleeper, "select 1"))
    sleeper.close()
    impatient = connect(read_timeout=1)
    report("timeout", failure(impatient, "select sleep(30)"))
    killer.close()


def crowd():
    results = {}

    def work(number):
        connection = connect()
        for turn in range(20):
            row = run(connection, "select %s * 10 + %s", [number, turn])[2]
            results[(number, turn)] = row
            connection.commit()
        connection.close()

    threads = [threading.Thread(target=work, args=[number]) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    report("crowd", [results[key] for key in sorted(results)])


def main():
    connection = connect()
    run(connection, "drop table if exists pymysql_orders")
    run(
        connection,
        "create table pymysql_orders (id int auto_increment primary key, customer varchar(50) unique)",
    )
    types(connection)
    transactions(connection)
    errors(connection)
    connection.close()
    unbuffered()
    killed()
    crowd()


main()
