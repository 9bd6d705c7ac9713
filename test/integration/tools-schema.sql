-- A database with one of nearly everything that pg_dump writes, in an order that it has to find out itself.

CREATE SCHEMA sales;
COMMENT ON SCHEMA sales IS 'Who buys what; it''s "quoted" \ and über';
CREATE TYPE sales.state AS ENUM ('open', 'paid', 'sent');
CREATE DOMAIN sales.amount AS numeric(12, 2) CHECK (VALUE >= 0);
CREATE TYPE sales.pair AS (a int, b text);

CREATE TABLE sales.customers (
  id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  name text NOT NULL,
  tags text[] DEFAULT '{}',
  extra jsonb,
  born date,
  photo bytea,
  upper_name text GENERATED ALWAYS AS (upper(name)) STORED
);

CREATE TABLE sales.orders (
  id bigserial PRIMARY KEY,
  customer int NOT NULL REFERENCES sales.customers ON DELETE CASCADE,
  state sales.state NOT NULL DEFAULT 'open',
  total sales.amount,
  placed timestamptz NOT NULL,
  note sales.pair,
  EXCLUDE USING gist (box(point(id, id), point(id, id)) WITH &&)
);
CREATE INDEX orders_by_state ON sales.orders (state) WHERE state <> 'sent';
CREATE UNIQUE INDEX ON sales.customers (lower(name), id);

CREATE TABLE sales.events (at timestamptz NOT NULL, what text) PARTITION BY RANGE (at);
CREATE TABLE sales.events_old PARTITION OF sales.events FOR VALUES FROM (MINVALUE) TO ('2020-01-01');
CREATE TABLE sales.events_new PARTITION OF sales.events FOR VALUES FROM ('2020-01-01') TO (MAXVALUE);

CREATE FUNCTION sales.touch() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
  RAISE NOTICE 'touched %', NEW.id;
  RETURN NEW;
END
$body$;
CREATE TRIGGER touch BEFORE UPDATE ON sales.orders FOR EACH ROW EXECUTE FUNCTION sales.touch();

CREATE VIEW sales.open_orders AS SELECT * FROM sales.orders WHERE state = 'open';
CREATE MATERIALIZED VIEW sales.totals AS
  SELECT customer, sum(total) AS total FROM sales.orders GROUP BY customer;
CREATE RULE quiet AS ON DELETE TO sales.events DO INSTEAD NOTHING;
CREATE AGGREGATE sales.longest (text) (sfunc = textcat, stype = text, initcond = '');
CREATE SEQUENCE sales.tickets START 100 INCREMENT 7 CACHE 3;
CREATE STATISTICS sales.states ON state, customer FROM sales.orders;
ALTER TABLE sales.customers ENABLE ROW LEVEL SECURITY;
CREATE POLICY everybody ON sales.customers USING (true);
GRANT SELECT ON sales.customers TO PUBLIC;
CREATE PUBLICATION orders FOR TABLE sales.orders;

INSERT INTO sales.customers (name, tags, extra, born, photo)
SELECT 'Kunde ' || i || E' \t\\N\n' || repeat('é', i % 50), ARRAY['a' || i, NULL, '"'],
  jsonb_build_object('i', i, 'list', jsonb_build_array(i, NULL, 'x')), date '2000-01-01' + i, decode(md5(i::text), 'hex')
FROM generate_series(1, 2000) i;
INSERT INTO sales.orders (customer, state, total, placed, note)
SELECT 1 + i % 2000, (enum_range(NULL::sales.state))[1 + i % 3], i / 7.0, '2024-05-01Z'::timestamptz + i * interval '1 min', ROW(i, 'n' || i)::sales.pair
FROM generate_series(1, 5000) i;
INSERT INTO sales.events SELECT '2019-12-31Z'::timestamptz + i * interval '1 s', 'e' || i FROM generate_series(1, 200000, 10) i;
REFRESH MATERIALIZED VIEW sales.totals;
SELECT nextval('sales.tickets');
SELECT lo_from_bytea(424242, decode(repeat(md5('large'), 20000), 'hex'));
COMMENT ON LARGE OBJECT 424242 IS 'large';
