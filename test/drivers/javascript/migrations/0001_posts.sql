CREATE TABLE "drizzle_posts" (
	"id" serial PRIMARY KEY,
	"author_id" integer NOT NULL,
	"title" text NOT NULL,
	"price" numeric(10, 2)
);
--> statement-breakpoint
ALTER TABLE "drizzle_posts" ADD CONSTRAINT "drizzle_posts_author" FOREIGN KEY ("author_id") REFERENCES "drizzle_users" ("id");
--> statement-breakpoint
ALTER TABLE "drizzle_posts" ADD COLUMN "tags" text[];
--> statement-breakpoint
CREATE INDEX "drizzle_posts_title" ON "drizzle_posts" ("title");
