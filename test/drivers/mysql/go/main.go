// go-sql-driver/mysql by way of database/sql as an application uses it: a pool of connections, all settings
// as they come. What it does is printed, one line for each step, to be compared between two runs.
package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"
)

const (
	// More connections than the pool has.
	clients = 12
	rounds  = 3
)

var background = context.Background()

func main() {
	config := mysql.NewConfig()
	config.Net = "tcp"
	config.Addr = os.Getenv("MYSQL_HOST") + ":" + os.Getenv("MYSQL_TCP_PORT")
	config.User = os.Getenv("MYSQL_USER")
	config.Passwd = os.Getenv("MYSQL_PWD")
	config.DBName = os.Getenv("MYSQL_DATABASE")
	config.ParseTime = true
	db, err := sql.Open("mysql", config.FormatDSN())
	must(err)
	defer db.Close()
	db.SetMaxOpenConns(clients)
	db.SetMaxIdleConns(clients)
	execute(db, "drop table if exists go_orders")
	execute(db, "create table go_orders (id int auto_increment primary key, customer varchar(50) not null unique)")
	types(db)
	transactions(db)
	failures(db)
	changes(db)
	cancelled(db)
	timeouts(db)
	crowd(db)
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

func failure(err error) any {
	var refused *mysql.MySQLError
	if errors.As(err, &refused) {
		return []any{refused.Number, string(refused.SQLState[:]), refused.Message}
	}
	if err != nil {
		return err.Error()
	}
	return nil
}

type executor interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func execute(on executor, query string, args ...any) int64 {
	result, err := on.ExecContext(background, query, args...)
	must(err)
	count, err := result.RowsAffected()
	must(err)
	return count
}

// With arguments, the driver prepares each statement, executes it and closes it.
func types(db *sql.DB) {
	for range rounds {
		var text string
		var number int64
		var fraction float64
		var truth bool
		var moment time.Time
		var bytes []byte
		var nothing sql.NullString
		sent := time.Date(2026, 2, 3, 4, 5, 6, 789000000, time.UTC)
		row := db.QueryRow("select ?, ?, ?, ?, cast(? as datetime(6)), ?, ?",
			"text with ' and \" and ü 🦑", -42, 1e-7, true, sent, []byte{0, 1, 127, 128, 255}, nil)
		must(row.Scan(&text, &number, &fraction, &truth, &moment, &bytes, &nothing))
		report("types", []any{text, number, fraction, truth, moment, bytes, nothing})
	}
}

func transactions(db *sql.DB) {
	transaction, err := db.BeginTx(background, &sql.TxOptions{Isolation: sql.LevelSerializable})
	must(err)
	report("inserted", execute(transaction, "insert into go_orders (customer) values (?)", "one"))
	_, err = transaction.Exec("insert into go_orders (customer) values (?)", "one")
	report("duplicate", failure(err))
	must(transaction.Commit())
	transaction, err = db.Begin()
	must(err)
	execute(transaction, "insert into go_orders (customer) values (?)", "two")
	must(transaction.Rollback())
	transaction, err = db.BeginTx(background, &sql.TxOptions{ReadOnly: true})
	must(err)
	_, err = transaction.Exec("insert into go_orders (customer) values ('three')")
	report("read only", failure(err))
	must(transaction.Rollback())
	statement, err := db.Prepare("insert into go_orders (customer) values (?)")
	must(err)
	for n := range 20 {
		_, err = statement.Exec(fmt.Sprintf("customer %d", n))
		must(err)
	}
	must(statement.Close())
	report("orders", strings(db, "select customer from go_orders order by id"))
}

func strings(db *sql.DB, query string, args ...any) []string {
	rows, err := db.Query(query, args...)
	must(err)
	defer rows.Close()
	texts := []string{}
	for rows.Next() {
		var text string
		must(rows.Scan(&text))
		texts = append(texts, text)
	}
	must(rows.Err())
	return texts
}

func failures(db *sql.DB) {
	for range rounds {
		_, err := db.Exec("select * from go_nowhere")
		report("no table", failure(err))
		_, err = db.Exec("select * from go_nowhere where a = ?", 1)
		report("no table, prepared", failure(err))
		_, err = db.Exec("selekt 1")
		report("bad text", failure(err))
		report("after", strings(db, "select ?", "fine"))
	}
}

// A table changes under a statement that is prepared.
func changes(db *sql.DB) {
	execute(db, "drop table if exists go_items")
	execute(db, "create table go_items (a int)")
	execute(db, "insert into go_items values (1)")
	statement, err := db.Prepare("select * from go_items")
	must(err)
	columns := func() []string {
		rows, err := statement.Query()
		must(err)
		defer rows.Close()
		names, err := rows.Columns()
		must(err)
		return names
	}
	report("before", columns())
	execute(db, "alter table go_items add column b int")
	report("added", columns())
	execute(db, "alter table go_items drop column b")
	report("dropped", columns())
	must(statement.Close())
	execute(db, "drop table go_items")
}

// A context that is cancelled while the statement runs, and while its rows are read.
func cancelled(db *sql.DB) {
	query := "select count(*), sleep(30) from go_orders"
	ctx, cancel := context.WithCancel(background)
	ended := make(chan error)
	go func() {
		_, err := db.ExecContext(ctx, query)
		ended <- err
	}()
	for len(strings(db, "select id from information_schema.processlist where info = ?", query)) == 0 {
	}
	cancel()
	report("cancelled", failure(<-ended))
	report("after", strings(db, "select 'fine'"))
	ctx, cancel = context.WithCancel(background)
	rows, err := db.QueryContext(ctx, "select a.id from go_orders a, go_orders b, go_orders c, go_orders d")
	must(err)
	report("row", rows.Next())
	cancel()
	for rows.Next() {
	}
	report("cancelled in its rows", failure(rows.Err()))
	report("after", strings(db, "select 'fine'"))
}

// The driver closes the connection of a statement whose time is over.
func timeouts(db *sql.DB) {
	for range rounds {
		short, cancel := context.WithTimeout(background, 200*time.Millisecond)
		_, err := db.ExecContext(short, "do sleep(30)")
		cancel()
		report("timeout", errors.Is(err, context.DeadlineExceeded))
		report("after", strings(db, "select 'fine'"))
	}
}

func crowd(db *sql.DB) {
	results := make([]string, 600)
	var group sync.WaitGroup
	for worker := range clients {
		group.Add(1)
		go func() {
			defer group.Done()
			for n := worker; n < len(results); n += clients {
				results[n] = strings(db, fmt.Sprintf("select ? * 10 + %d", n%30), n)[0]
			}
		}()
	}
	group.Wait()
	report("crowd", results)
}
