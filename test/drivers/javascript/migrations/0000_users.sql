CREATE TABLE "drizzle_users" (
	"id" serial PRIMARY KEY,
	"name" text NOT NULL UNIQUE,
	"is_active" boolean DEFAULT true NOT NULL,
	"settings" jsonb,
	"joined" timestamp with time zone NOT NULL
);
