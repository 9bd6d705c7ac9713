// pgx as an application uses it: a pool of connections, all settings as they come. What it does is
// printed, one line for each step, to be compared between two runs.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// More connections than the pool has.
	clients = 12
	rounds  = 3
)

var background = context.Background()

func main() {
	if len(os.Args) > 1 && os.Args[1] == "listen" {
		listen()
		return
	}
	config, err := pgxpool.ParseConfig("")
	must(err)
	config.MaxConns = clients
	pool, err := pgxpool.NewWithConfig(background, config)
	must(err)
	defer pool.Close()
	execute(pool, "drop table if exists pgx_orders")
	execute(pool, "create table pgx_orders (id int generated always as identity primary key, customer text not null unique)")
	types(pool)
	transactions(pool)
	failures(pool)
	changes(pool)
	batches(pool)
	copies(pool)
	modes(pool)
	timeouts(pool)
	crowd(pool)
	standard(pool)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func report(step string, result any) {
	text, err := json.Marshal(result)
	must(err)
	fmt.Printf("%s: %s\n", step, text)
}

// describe says an error as the database said it.
func describe(err error) any {
	var refused *pgconn.PgError
	if errors.As(err, &refused) {
		return []any{refused.Code, refused.Severity, refused.Message, refused.Detail, refused.Position}
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return "deadline exceeded"
	}
	return fmt.Sprint(err)
}

type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
}

func execute(on querier, sql string, args ...any) string {
	tag, err := on.Exec(background, sql, args...)
	must(err)
	return tag.String()
}

// rowsOf returns all values of all rows, or how the query failed.
func rowsOf(on querier, sql string, args ...any) any {
	rows, err := on.Query(background, sql, args...)
	if err != nil {
		return describe(err)
	}
	values, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) ([]any, error) { return row.Values() })
	if err != nil {
		return describe(err)
	}
	return values
}

func types(pool *pgxpool.Pool) {
	query := `select $1::text, $2::int, $3::bigint, $4::numeric, $5::float8, $6::bool, $7::timestamptz,
		$8::date, $9::bytea, $10::jsonb, $11::int[], $12::text[], $13::uuid, $14::interval, $15::inet, $16::text`
	moment := time.Date(2026, 2, 3, 4, 5, 6, 789000, time.UTC)
	values := []any{
		"text with ' and ü 🦑", -42, int64(1) << 62, "123456789.000000001", 1e-7, true, moment, moment,
		[]byte{0, 1, 128, 255}, map[string]any{"key": []any{"value", nil}}, []int{1, 2}, []string{"a", `b,"c"`},
		"0b4a6d6e-7f4b-4a53-9d7b-6a2a54a4a000", 25 * time.Hour, "10.0.0.1", nil,
	}
	for range rounds {
		report("types", rowsOf(pool, query, values...))
	}
	report("large", rowsOf(pool, "select length($1::text)", string(bytes.Repeat([]byte("x"), 1_000_000))))
	report("several", execute(pool, "select 1; select 2"))
	report("named", rowsOf(pool, "select @a::int + @b::int", pgx.NamedArgs{"a": 1, "b": 2}))
}

func transactions(pool *pgxpool.Pool) {
	insert := "insert into pgx_orders (customer) values ($1) returning id"
	err := pgx.BeginTxFunc(background, pool, pgx.TxOptions{IsoLevel: pgx.Serializable}, func(tx pgx.Tx) error {
		report("inserted", rowsOf(tx, insert, "one"))
		inner := pgx.BeginFunc(background, tx, func(savepoint pgx.Tx) error {
			_, err := savepoint.Exec(background, insert, "one")
			return err
		})
		report("duplicate", describe(inner))
		report("inserted", rowsOf(tx, insert, "two"))
		return nil
	})
	must(err)
	err = pgx.BeginFunc(background, pool, func(tx pgx.Tx) error {
		execute(tx, insert, "never")
		return errors.New("given up")
	})
	report("given up", describe(err))
	err = pgx.BeginTxFunc(background, pool, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(tx pgx.Tx) error {
		_, err := tx.Exec(background, insert, "refused")
		return err
	})
	report("read only", describe(err))
	report("orders", rowsOf(pool, "select customer from pgx_orders order by id"))
}

func failures(pool *pgxpool.Pool) {
	must(pool.AcquireFunc(background, func(connection *pgxpool.Conn) error {
		for n := range rounds {
			report("no table", rowsOf(connection, "select * from pgx_nowhere where id = $1", n))
			report("bad text", rowsOf(connection, "select $1::text::int", "x"))
			report("division", rowsOf(connection, "select 1 / $1::int", 0))
			report("after", rowsOf(connection, "select $1::int", n))
		}
		return nil
	}))
}

// changes alters a table under statements that are in the driver's cache.
func changes(pool *pgxpool.Pool) {
	must(pool.AcquireFunc(background, func(connection *pgxpool.Conn) error {
		execute(connection, "drop table if exists pgx_items")
		execute(connection, "create table pgx_items (a int)")
		execute(connection, "insert into pgx_items values (1)")
		for _, change := range []string{"add column b text default 'b'", "alter column a type text", "drop column b"} {
			report("before", rowsOf(connection, "select * from pgx_items"))
			execute(connection, "alter table pgx_items "+change)
			report("stale", rowsOf(connection, "select * from pgx_items"))
			report(change, rowsOf(connection, "select * from pgx_items"))
		}
		return nil
	}))
}

func batches(pool *pgxpool.Pool) {
	for range rounds {
		batch := &pgx.Batch{}
		sum := 0
		for n := range 100 {
			batch.Queue(fmt.Sprintf("select $1::int + %d", n%7), n).QueryRow(func(row pgx.Row) error {
				var value int
				err := row.Scan(&value)
				sum += value
				return err
			})
		}
		must(pool.SendBatch(background, batch).Close())
		report("batch", sum)
	}
	broken := &pgx.Batch{}
	broken.Queue("insert into pgx_orders (customer) values ($1)", "in a batch")
	broken.Queue("select 1 / $1::int", 0)
	broken.Queue("select 1")
	report("broken batch", describe(pool.SendBatch(background, broken).Close()))
	report("orders", rowsOf(pool, "select count(*) from pgx_orders"))
}

func copies(pool *pgxpool.Pool) {
	source := pgx.CopyFromSlice(20_000, func(n int) ([]any, error) { return []any{fmt.Sprint("copied ", n)}, nil })
	count, err := pool.CopyFrom(background, pgx.Identifier{"pgx_orders"}, []string{"customer"}, source)
	must(err)
	report("copied", count)
	_, err = pool.CopyFrom(background, pgx.Identifier{"pgx_orders"}, []string{"customer"}, pgx.CopyFromRows([][]any{{"one"}}))
	report("copy failed", describe(err))
	must(pool.AcquireFunc(background, func(connection *pgxpool.Conn) error {
		hashed := sha256.New()
		out := "copy (select customer from pgx_orders order by customer) to stdout"
		tag, err := connection.Conn().PgConn().CopyTo(background, hashed, out)
		report("copied", []any{tag.String(), hashed.Sum(nil)})
		return err
	}))
}

// modes runs a query in every way that the driver has.
func modes(pool *pgxpool.Pool) {
	for _, mode := range []pgx.QueryExecMode{
		pgx.QueryExecModeCacheStatement, pgx.QueryExecModeCacheDescribe, pgx.QueryExecModeDescribeExec,
		pgx.QueryExecModeExec, pgx.QueryExecModeSimpleProtocol,
	} {
		for n := range rounds {
			report(mode.String(), rowsOf(pool, "select $1::int + 1, $2::text", mode, n, "text"))
		}
	}
}

func timeouts(pool *pgxpool.Pool) {
	deadline, cancel := context.WithTimeout(background, 300*time.Millisecond)
	defer cancel()
	_, err := pool.Exec(deadline, "select pg_sleep($1)", 60)
	report("timeout", describe(err))
	report("after", rowsOf(pool, "select 1"))
	query := "select pg_sleep(60) as for_pgx"
	must(pool.AcquireFunc(background, func(connection *pgxpool.Conn) error {
		failed := make(chan any)
		go func() { failed <- rowsOf(connection, query) }()
		untilRunning(pool, query)
		must(connection.Conn().PgConn().CancelRequest(background))
		report("cancelled", <-failed)
		report("after", rowsOf(connection, "select 1"))
		return nil
	}))
}

// untilRunning waits until the database runs the statement.
func untilRunning(pool *pgxpool.Pool, query string) {
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); {
		var count int
		running := "select count(*) from pg_stat_activity where state = 'active' and query = $1"
		must(pool.QueryRow(background, running, query).Scan(&count))
		if count > 0 {
			return
		}
	}
	panic("not running: " + query)
}

func crowd(pool *pgxpool.Pool) {
	results := make([]int, 600)
	var group sync.WaitGroup
	for n := range results {
		group.Add(1)
		go func() {
			defer group.Done()
			must(pool.QueryRow(background, fmt.Sprintf("select $1::int * 10 + %d", n%15), n).Scan(&results[n]))
		}()
	}
	group.Wait()
	report("crowd", results)
}

// standard goes through database/sql, which resets a connection before it uses it again.
func standard(pool *pgxpool.Pool) {
	database := stdlib.OpenDBFromPool(pool)
	defer database.Close()
	statement, err := database.Prepare("select $1::int + 5")
	must(err)
	defer statement.Close()
	for n := range rounds {
		var sum int
		must(statement.QueryRow(n).Scan(&sum))
		report("database/sql", sum)
	}
	tx, err := database.Begin()
	must(err)
	_, err = tx.Exec("delete from pgx_orders")
	must(err)
	must(tx.Rollback())
	var count int
	must(database.QueryRow("select count(*) from pgx_orders").Scan(&count))
	report("orders", count)
}

func listen() {
	listener, err := pgx.Connect(background, "")
	must(err)
	defer listener.Close(background)
	notifier, err := pgx.Connect(background, "")
	must(err)
	defer notifier.Close(background)
	execute(listener, "listen pgx_news")
	for _, payload := range []string{"first", "last"} {
		execute(notifier, "select pg_notify('pgx_news', $1)", payload)
		deadline, cancel := context.WithTimeout(background, 30*time.Second)
		notification, err := listener.WaitForNotification(deadline)
		cancel()
		must(err)
		report("heard", []string{notification.Channel, notification.Payload})
	}
}
